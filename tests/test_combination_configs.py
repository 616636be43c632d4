"""Parts of several papers in one model: it trains a step, and every part takes part in it."""

import re
from pathlib import Path

import pytest
from conformance_utils import METHODS, ROOT, load_config, loss_of, make_model, random_batch
from mmengine.config import Config

CONFIG = ROOT / 'configs/combinations/demt-mtcp-triplane_r18-thin_1xb8-600_rooms-96x128.py'


def test_page_shows_the_model_of_the_config():
    """The recipe prints the model; the config is where it comes from."""
    page = (ROOT / 'docs/recipes/combine.md').read_text()
    text = next(t for t in re.findall(r'```python\n(.*?)```', page, re.S) if 'CoherenceFusion' in t)
    base = str(CONFIG.parent.parent) + '/'
    shown = Config.fromstring(text.replace("'../", f"'{base}"), '.py').model
    config = Config.fromfile(CONFIG).model
    assert [dict(neck) for neck in shown.neck] == [dict(neck) for neck in config.neck]
    assert shown.regularizers == config.regularizers and shown.balancer == config.balancer
    for task, head in config.heads.items():
        assert shown.heads[task].items() <= head.items()


@pytest.mark.slow
def test_a_step_reaches_every_part_and_names_every_loss(monkeypatch):
    monkeypatch.setitem(METHODS, 'combination', str(CONFIG.relative_to(ROOT)))
    assert Path(load_config('combination').filename) == CONFIG
    model = make_model('combination').train()
    total, logged = loss_of(model, random_batch(model, ((64, 96), (64, 96))))
    total.backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None]
    assert {'semseg.loss', 'depth.loss', 'normal.loss', 'loss_cos'} <= set(logged)
    assert {f'triplane.raw_{task}' for task in model.tasks} <= set(logged)
    # The suite gives regularizers the weight that they end with.
    parts = [model.backbone, *model.neck, *model.heads.values()]
    assert logged['triplane.alpha'] == 4 and logged['triplane.raw_depth'] > 0
    trained = [part for part in parts if [*part.parameters()]]
    assert len(trained) == len(parts) - 1  # the fusion of levels only resizes
    assert all(any(p.grad.abs().sum() > 0 for p in part.parameters()) for part in trained)
