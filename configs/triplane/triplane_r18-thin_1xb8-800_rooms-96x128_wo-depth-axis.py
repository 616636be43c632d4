# One plane, xy: the same encoder, MLPs and integral without a third dimension.
_base_ = './triplane_r18-thin_1xb8-800_rooms-96x128.py'

model = dict(regularizers=dict(triplane=dict(planes=('xy',), fine=0)))
