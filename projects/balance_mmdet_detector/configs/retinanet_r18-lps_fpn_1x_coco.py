_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'

custom_imports = dict(imports=['mmdense'])

custom_hooks = [
    dict(
        type='mmdense.LossBalancerHook',
        tasks=dict(cls='loss_cls', box='loss_bbox'),
        # A schedule of 12 epochs leaves little to look back on.
        balancer=dict(type='LossPrioritization', history=2, spread=1.5, min_weight=0.05),
    )
]
