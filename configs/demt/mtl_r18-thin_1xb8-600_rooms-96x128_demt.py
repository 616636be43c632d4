# The multi-task baseline of the comparison on rooms: DeMT without its three parts.
_base_ = ['./demt_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(neck=dict(mixer=False, interaction=False, query=False))
