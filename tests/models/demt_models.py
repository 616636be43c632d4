"""DeMT on every published backbone, with the tasks of NYUD-v2 and PASCAL-Context."""

NYUD = dict(
    semseg=dict(type='SemSeg', num_classes=40),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
)
PASCAL = dict(
    semseg=dict(type='SemSeg', num_classes=21),
    part=dict(type='Part'),
    saliency=dict(type='Saliency', num_logits=2),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
)
LEVELS = {
    'w18-small': (18, 36, 72, 144),
    'w48': (48, 96, 192, 384),
    'tiny': (96, 192, 384, 768),
    'small': (96, 192, 384, 768),
    'base': (128, 256, 512, 1024),
    'large': (192, 384, 768, 1536),
}
#: Architecture to C', and totals of the released form on NYUD-v2 and PASCAL-Context.
TOTALS = {
    'w18-small': (128, 4_764_730, 4_960_536),
    'w48': (256, 68_856_151, 69_608_244),
    'tiny': (256, 32_070_259, 33_028_902),
    'small': (256, 53_388_163, 54_346_806),
    'base': (256, 91_973_597, 93_069_940),
    'large': (256, 201_584_785, 202_956_528),
}


def config(arch, tasks=NYUD, **kwargs):
    """The model's config; ``kwargs`` are those of the neck."""
    levels, width = LEVELS[arch], TOTALS[arch][0]
    head = dict(type='ConvHead', in_channels=width, channels=sum(levels) // 8, predictor_std=0.01)
    return dict(
        type='mmdense.DensePredictor',
        tasks=tasks,
        backbone=dict(type='HRNet' if arch[0] == 'w' else 'SwinTransformer', arch=arch),
        neck=dict(type='DeMTNeck', in_channels=levels, channels=width, **kwargs),
        heads=dict.fromkeys(tasks, head),
    )
