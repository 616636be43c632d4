# Learned uncertainty weights.
_base_ = ['./mtcp_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(
    balancer=dict(_delete_=True, type='UncertaintyWeights', aux_losses='added'))
