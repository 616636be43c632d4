"""A Mask2Former as a start for MT-CP."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdense.apis.model_parts import build_model

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/mtcp/mtcp_mask2former-tiny_1xb8-600_rooms-96x128.py'
PLAIN = ROOT / 'configs/mtcp/mtcp_r18-thin_1xb8-600_rooms-96x128.py'
COMPILED = all(importlib.util.find_spec(name) for name in ('mmdet', 'mmcv._ext'))


@pytest.fixture
def converter(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools' / 'model_converters'))
    sys.modules.pop('mask2former', None)
    import mask2former

    yield mask2former
    sys.modules.pop('mask2former', None)


@pytest.mark.ops
@pytest.mark.skipif(not COMPILED, reason='needs mmdet and the compiled ops of mmcv')
def test_backbone_and_embedding_are_written_in_the_names_of_the_model(tmp_path, converter, capsys):
    torch.manual_seed(3)
    source = build_model(Config.fromfile(CONFIG), 'cpu')
    weights = {f'backbone.{k}': v for k, v in source.backbone.state_dict().items()}
    embedding = source.neck[0].embedding.state_dict()
    weights |= {f'decode_head.{k}': v for k, v in embedding.items()}
    weights['decode_head.cls_embed.weight'] = torch.zeros(151, 64)
    torch.save(dict(state_dict=weights), tmp_path / 'in.pth')
    arguments = [str(CONFIG), str(tmp_path / 'in.pth'), str(tmp_path / 'out.pth')]
    assert converter.main(arguments) == 0, capsys.readouterr().err
    written = torch.load(tmp_path / 'out.pth')['state_dict']
    assert len(written) == len(weights) - 1
    for key, value in source.state_dict().items():
        if key in written:
            assert torch.equal(written[key], value), key
    del weights['decode_head.query_feat.weight']
    torch.save(weights, tmp_path / 'in.pth')
    with pytest.raises(ValueError, match=r'query_feat\.weight'):
        converter.main(arguments)


def test_config_without_mask2former(tmp_path, converter, capsys):
    torch.save({}, tmp_path / 'in.pth')
    arguments = [str(PLAIN), str(tmp_path / 'in.pth'), str(tmp_path / 'out.pth')]
    assert converter.main(arguments) == 2
    assert 'Mask2FormerEmbedding' in capsys.readouterr().err
