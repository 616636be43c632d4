"""CTAL and the models that it is compared with, on any backbone of four levels."""

NYUV2 = dict(
    semseg=dict(type='SemSeg', num_classes=13), depth=dict(type='Depth'), normal=dict(type='Normal')
)
CITYSCAPES = dict(semseg=dict(type='SemSeg', num_classes=19), depth=dict(type='Depth'))
HRNET18 = dict(type='HRNet', arch='w18-small', norm_cfg=dict(type='BN', momentum=0.01))
LEVELS = (18, 36, 72, 144)
MODELS_OF_CTAL = ('mtl', 'pad-net', 'pap-net', 'mti-net', 'ctal-ss', 'ctal-ms')


def config(
    method, tasks=NYUV2, backbone=HRNET18, levels=LEVELS, grid=(72, 96), width=128, **kwargs
):
    """The model's config.

    Args:
        method: One of ``MODELS_OF_CTAL``.
        tasks: Tasks of the model.
        backbone: Config of the backbone.
        levels: Channels of its maps.
        grid: Size of the finest.
        width: Channels of the affinities; the initial heads are twice as wide.
        **kwargs: Options of the cross-task affinity or of the multi-scale initial heads.
    """
    fusion = dict(type='HRFusion', in_channels=levels)
    initial = dict(type='InitialTaskHeads', in_channels=sum(levels), channels=2 * width)
    scales = dict(type='MultiScaleInitialTaskHeads', in_channels=levels)
    affinity = dict(type='CrossTaskAffinity', channels=width, feat_size=grid)
    single, multiple = [fusion, initial], [scales | kwargs]
    residual = dict(type='ResidualHead', in_channels=width)
    hr = dict(type='HRHead', in_channels=levels)
    neck, head = {
        'mtl': ([], hr),
        'pad-net': (
            [*single, dict(type='PADDistillation', channels=2 * width)],
            residual | dict(in_channels=2 * width),
        ),
        'pap-net': (
            [
                *single,
                dict(type='PatternAffinityPropagation', in_channels=2 * width, channels=width),
            ],
            residual,
        ),
        'mti-net': ([*multiple, dict(type='MultiScaleDistillation', in_channels=levels)], hr),
        'ctal-ss': ([*single, affinity | dict(in_channels=2 * width) | kwargs], residual),
        'ctal-ms': (
            [
                scales,
                fusion | dict(per_task=True),
                affinity | dict(in_channels=sum(levels)) | kwargs,
            ],
            residual,
        ),
    }[method]
    head |= dict(intermediate_reduction='mean', align_corners=False)
    return dict(
        type='mmdense.DensePredictor',
        tasks=tasks,
        backbone=backbone,
        neck=neck,
        heads=dict.fromkeys(tasks, head),
    )
