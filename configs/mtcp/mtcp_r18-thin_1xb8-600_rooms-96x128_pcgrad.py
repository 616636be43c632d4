# Equal weights, and gradients of the tasks projected where they disagree. Needs torchjd.
_base_ = ['./mtcp_r18-thin_1xb8-600_rooms-96x128_ew.py']

optim_wrapper = dict(
    type='JacobianOptimWrapper',
    aggregator=dict(type='PCGrad'),
    # What all tasks use: the encoder and the fusion of its levels.
    shared=[r'^backbone\.', r'^neck\.0\.embedding\.'])
