"""Every gradient aggregator moves a small CTAL network, or says what it lacks."""

import pytest
import torch
from balancing_utils import AGGREGATOR_CFGS, make_wrapper, named_cfg
from conformance_utils import random_batch
from ctal_models import config

from mmdense.registry import MODELS
from mmdense.utils.errors import MissingDependencyError

THIN = dict(
    type='ResNet',
    depth=18,
    base_channels=4,
    stem_channels=4,
    norm_cfg=dict(type='BN'),
    init_cfg=None,
)
LEVELS = (4, 8, 16, 32)
#: Numbers per task, of which there are three here.
PER_TASK = dict(Constant=dict(weights=[1.0, 2.0, 0.5]), Krum=dict(n_byzantine=0, n_selected=1))


def make_model():
    torch.manual_seed(0)
    model = MODELS.build(
        config('ctal-ss', backbone=THIN, levels=LEVELS, grid=(8, 8), width=8, gamma=0.05)
    )
    model.init_weights()
    return model


@pytest.mark.parametrize('name', AGGREGATOR_CFGS)
def test_one_step(name):
    model = make_model()
    cfg = named_cfg(name, AGGREGATOR_CFGS) | PER_TASK.get(name, {})
    try:
        # What the tasks share: all up to the maps of the tasks.
        wrapper = make_wrapper(model, cfg, shared=[r'^backbone\.', r'^neck\.0\.'])
    except MissingDependencyError as error:
        assert name in str(error) and '\n' not in str(error)
        pytest.skip(str(error))
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    batch = model.data_preprocessor(random_batch(model, [(32, 32)] * 3), training=True)
    with wrapper.optim_context(model):
        losses = model(**batch, mode='loss')
    total, _ = model.parse_losses(losses)
    wrapper.update_params(total)
    moved = [key for key, p in model.named_parameters() if not torch.equal(p, before[key])]
    assert all(p.isfinite().all() for p in model.parameters())
    for part in ('backbone.', 'neck.0.', 'neck.1.', 'neck.2.', 'heads.depth.'):
        assert any(key.startswith(part) for key in moved), part
