# DeMT's deformable mixer, then MT-CP's coherence fusion, under the triplane regularizer: parts of
# three papers in one list. Losses are weighed by MT-CP's loss prioritization.
_base_ = [
    '../_base_/datasets/rooms_3task.py', '../_base_/models/conv_multitask.py',
    '../_base_/schedules/adamw_600.py', '../_base_/default_runtime.py'
]

levels = [32, 64, 128, 256]
channels = 64
task_head = dict(
    type='ConvHead',
    in_channels=channels,
    in_index=0,
    channels=channels,
    num_convs=1,
    align_corners=False)
model = dict(
    tasks=_base_.tasks,
    neck=[
        # DeMT: all levels at stride 4, one width, then a map per task.
        dict(type='MultiScaleFusion', in_channels=levels),
        dict(type='WidthReduction', in_channels=sum(levels), channels=channels),
        dict(type='DeformableMixer', channels=channels),
        # MT-CP: what the other tasks see decides which pixels a task averages. Cells of 2x2 pixels
        # are attended to, which is four times as cheap.
        dict(type='CoherenceFusion', channels=channels, kv_stride=2),
    ],
    heads=dict(
        semseg=task_head,
        depth=task_head,
        normal=task_head),
    # In training only: nothing of it is in a published file.
    regularizers=dict(
        triplane=dict(
            type='TriplaneRegularizer',
            feature='backbone',
            render_stride=4, coarse=16, fine=16,
            alpha_max=4.0, ramp_fraction=0.5)),
    balancer=dict(type='LossPrioritization', history=3, spread=2.5, interval=50))
