# CTAL's transforms of the small NYUv2 and Cityscapes: a flip. The pictures are stored at the size
# of the network and validation leaves them alone.
nyuv2_train_pipeline = cityscapes_train_pipeline = [
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='PackDenseInputs')
]
nyuv2_test_pipeline = cityscapes_test_pipeline = [dict(type='PackDenseInputs')]
