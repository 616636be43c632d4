# One feature per pixel, and the depth as an input of the MLPs.
_base_ = './triplane_r18-thin_1xb8-800_rooms-96x128.py'

model = dict(regularizers=dict(triplane=dict(field='pixel_aligned')))
