# Heads on the maps of the pyramids.
_base_ = ['./mtcp_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(neck=dict(with_cfm=False, with_srm=False))
