# The search for the genotype; it ends with genotype.json in the work directory.
_base_ = ['./atrc_r18-thin_1xb8-600_rooms-96x128.py', '../_base_/schedules/atrc_search.py']

model = dict(
    neck=dict(
        _delete_=True,
        type='RelationalContextSearch',
        in_channels=_base_.levels,
        channels=64,
        auxiliary_tasks=_base_.auxiliary_tasks),
    heads=dict(
        semseg=dict(dropout_ratio=0.0),
        depth=dict(dropout_ratio=0.0),
        normal=dict(dropout_ratio=0.0),
        boundary=dict(dropout_ratio=0.0),
        saliency=dict(dropout_ratio=0.0),
        part=dict(dropout_ratio=0.0)))
optim_wrapper = _base_.search_optim_wrapper
custom_hooks = _base_.search_hooks
