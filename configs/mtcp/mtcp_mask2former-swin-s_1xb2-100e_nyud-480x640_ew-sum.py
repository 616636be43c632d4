# Equal weights as code bases mean them: the sum of the final losses.
_base_ = ['./mtcp_mask2former-swin-s_1xb2-100e_nyud-480x640.py']

model = dict(
    balancer=dict(_delete_=True, type='EqualWeights', reduction='sum', aux_losses='added'))
