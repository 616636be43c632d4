# Dynamic weight average over stretches of 50 iterations.
_base_ = ['./mtcp_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(
    balancer=dict(
        _delete_=True, type='DynamicWeightAverage', interval=50, aux_losses='added'))
