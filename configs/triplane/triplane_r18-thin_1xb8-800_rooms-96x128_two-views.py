# Option: four pairs of views per step; from the planes of each, the other camera's segmentation too.
_base_ = './triplane_r18-thin_1xb8-800_rooms-96x128.py'

model = dict(
    # A room is 0.5 m to 6 m away.
    regularizers=dict(triplane=dict(views=2, z_metres=(0.5, 6.0))))
train_dataloader = dict(
    sampler=dict(group=2),
    # Views of a pair that are flipped differently show no motion of a camera.
    dataset=dict(views='both', pipeline=[dict(type='PackDenseInputs')]))
