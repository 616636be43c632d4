# Equal weights: the mean of the final losses.
_base_ = ['./mtcp_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(
    balancer=dict(_delete_=True, type='EqualWeights', reduction='mean', aux_losses='added'))
