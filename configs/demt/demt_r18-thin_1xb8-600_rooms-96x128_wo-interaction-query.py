# The baseline and the deformable mixers.
_base_ = ['./demt_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(neck=dict(interaction=False, query=False))
