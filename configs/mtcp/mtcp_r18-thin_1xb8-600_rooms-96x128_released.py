# Coherence fusion, weights and balance of the released code.
_base_ = ['./mtcp_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(
    neck=dict(released=True),
    heads=dict(
        semseg=dict(intermediate_weight=0.5),
        depth=dict(intermediate_weight=0.5),
        normal=dict(intermediate_weight=0.5)),
    balancer=dict(_delete_=True, type='EqualWeights', reduction='sum', aux_losses='added'))
