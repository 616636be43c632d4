"""The models that CTAL is compared with, on any backbone of four levels."""

NYUV2 = dict(
    semseg=dict(type='SemSeg', num_classes=13), depth=dict(type='Depth'), normal=dict(type='Normal')
)
CITYSCAPES = dict(semseg=dict(type='SemSeg', num_classes=19), depth=dict(type='Depth'))
HRNET18 = dict(type='HRNet', arch='w18-small', norm_cfg=dict(type='BN', momentum=0.01))
LEVELS = (18, 36, 72, 144)
MODELS_OF_CTAL = ('mtl', 'pad-net', 'mti-net')


def config(method, tasks=NYUV2, backbone=HRNET18, levels=LEVELS, channels=256, **kwargs):
    """The model's config; ``kwargs`` go to the multi-scale initial heads."""
    if method == 'mtl':
        neck, head = [], dict(type='HRHead', in_channels=levels)
    elif method == 'pad-net':
        neck = [
            dict(type='HRFusion', in_channels=levels),
            dict(type='InitialTaskHeads', in_channels=sum(levels), channels=channels),
            dict(type='PADDistillation', channels=channels),
        ]
        head = dict(type='ResidualHead', in_channels=channels)
    elif method == 'mti-net':
        neck = [
            dict(type='MultiScaleInitialTaskHeads', in_channels=levels, **kwargs),
            dict(type='MultiScaleDistillation', in_channels=levels),
        ]
        head = dict(type='HRHead', in_channels=levels)
    else:
        raise ValueError(f'{method!r} is not one of {MODELS_OF_CTAL}')
    head |= dict(intermediate_reduction='mean', align_corners=False)
    return dict(
        type='mmdense.DensePredictor',
        tasks=tasks,
        backbone=backbone,
        neck=neck,
        heads=dict.fromkeys(tasks, head),
    )
