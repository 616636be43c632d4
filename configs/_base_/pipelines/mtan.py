# MTAN's transforms: none. Its data (NYUv2 in 288x384, Cityscapes in 128x256) are stored at the
# size of the network.
nyuv2_train_pipeline = cityscapes_train_pipeline = [dict(type='PackDenseInputs')]
nyuv2_test_pipeline = cityscapes_test_pipeline = [dict(type='PackDenseInputs')]
