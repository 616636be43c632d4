_base_ = [
    '../_base_/datasets/rooms_6task.py', '../_base_/models/atrc_r18-thin.py',
    '../_base_/tasks/rooms_6task_auxiliary.py',
    '../_base_/schedules/adamw_600.py', '../_base_/default_runtime.py'
]

# No search was made for these tasks: rows and columns are those of the published genotypes of
# HRNet18, and local context, which they never choose, where neither has the pair.
genotype = [
    [3, 3, 4, 4, 4, 3],
    [4, 3, 4, 4, 2, 2],
    [4, 3, 3, 4, 3, 3],
    [3, 3, 1, 3, 3, 3],
    [3, 2, 4, 3, 3, 3],
    [3, 2, 3, 4, 4, 3]
]

model = dict(
    tasks=_base_.tasks,
    neck=dict(
        type='RelationalContext',
        in_channels=_base_.levels,
        channels=64,
        genotype=genotype,
        auxiliary_tasks=_base_.auxiliary_tasks),
    heads=dict(
        semseg=_base_.head,
        depth=dict(**_base_.head, intermediate_task=_base_.auxiliary_tasks.depth),
        normal=dict(**_base_.head, intermediate_task=_base_.auxiliary_tasks.normal),
        boundary=dict(**_base_.head, intermediate_task=_base_.auxiliary_tasks.boundary),
        saliency=dict(**_base_.head, intermediate_task=_base_.auxiliary_tasks.saliency),
        part=_base_.head))
