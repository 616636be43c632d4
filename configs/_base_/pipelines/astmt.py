# ASTMT's transforms, also those of MTI-Net, the multi-task survey and MT-CP: flip, one warp that
# zooms and turns, and a fixed resize that does not keep the aspect ratio.
#
# `*_test_pipeline` leaves ground truth native: predictions are resized back, the protocol of
# reported numbers. `*_selection_pipeline` resizes ground truth too, for scores during training
# at the size of the network (with model.test_cfg.resize=False; not for metrics that read native
# maps besides the ground truth, as boundaries of PASCAL-Context do).
#
# fill='zero', normals_y='down' in TaskAwareScaleRotate and nearest='corner' in TaskAwareResize
# give the released behaviour.
nyud_size = (480, 640)  # height, width
pascal_size = (512, 512)

nyud_resize = dict(
    type='TaskAwareResize',
    size=nyud_size,
    image_interpolation='cubic',
    interpolation=dict(normal='cubic'))
nyud_train_pipeline = [
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='TaskAwareScaleRotate', scales=(1.0, 1.2, 1.5), angles=(0, )),
    nyud_resize,
    dict(type='PackDenseInputs')
]
nyud_selection_pipeline = [nyud_resize, dict(type='PackDenseInputs')]
nyud_test_pipeline = [
    dict(nyud_resize, with_gt=False),
    dict(type='PackDenseInputs')
]

pascal_resize = dict(
    type='TaskAwareResize',
    size=pascal_size,
    image_interpolation='cubic',
    interpolation=dict(normal='cubic'))
pascal_train_pipeline = [
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='TaskAwareScaleRotate', scale_range=(0.75, 1.25), degrees=20),
    pascal_resize,
    dict(type='PackDenseInputs')
]
pascal_selection_pipeline = [pascal_resize, dict(type='PackDenseInputs')]
pascal_test_pipeline = [
    dict(pascal_resize, with_gt=False),
    dict(type='PackDenseInputs')
]
