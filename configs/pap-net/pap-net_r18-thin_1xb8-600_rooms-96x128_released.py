# What the released code computes: affinities of features of unit norm along positions, divided by
# column sums.
_base_ = ['./pap-net_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(neck=dict(propagation=dict(affinity='released')))
