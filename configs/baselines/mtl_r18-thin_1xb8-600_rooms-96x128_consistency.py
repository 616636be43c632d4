# All six tasks, and how well the maps of one picture, and of two views of one scene, fit together.
_base_ = ['./mtl_r18-thin_1xb8-600_rooms-96x128.py']

val_dataloader = dict(dataset=dict(views='both', length=100))
test_dataloader = val_dataloader
val_evaluator = dict(cross_task=[
    dict(type='NormalDepthConsistencyMetric'),
    dict(type='BoundarySegmentationAgreement'),
    dict(type='ViewConsistencyMetric')
])
test_evaluator = val_evaluator
