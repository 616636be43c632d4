# Without coherence fusion, and without the cosine distance.
_base_ = ['./mtcp_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(neck=dict(with_cfm=False))
