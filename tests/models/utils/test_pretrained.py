from urllib.error import URLError

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from mmdense.models.backbones import ConvNeXt, ResNet
from mmdense.models.utils import compare_state_dicts, load_pretrained, pretrained

TINY = dict(depths=(1, 1, 1, 1), channels=(4, 6, 8, 10))


def net():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def save(path, content):
    torch.save(content, path)
    return str(path)


def test_report_puts_every_key_in_one_list():
    module, weights = net(), net().state_dict()
    del weights['0.bias'], weights['1.num_batches_tracked']
    weights['2.weight'] = torch.zeros(5, 3)
    weights['head.weight'] = torch.zeros(1)
    report = compare_state_dicts(module, weights, drop=[r'^1\.running'])
    assert report.missing == ['0.bias']
    assert report.mismatched == ['2.weight (checkpoint 5x3, model 1x3)']
    assert report.unexpected == ['head.weight']
    assert report.dropped == ['1.running_mean', '1.running_var']
    assert report.matched == ['0.weight', '1.weight', '1.bias', '2.bias']
    assert report.missing_share == pytest.approx(2 / 6)
    assert report.counts() == (
        '4 keys matched, 1 missing, 1 of wrong shape, 1 unexpected, 2 dropped'
    )


@pytest.mark.parametrize('wrap', ['state_dict', 'model', None])
def test_loads_whatever_wrapper_and_strips_prefix(tmp_path, wrap):
    source, target = net(), net()
    weights = {f'module.encoder.{key}': value for key, value in source.state_dict().items()}
    path = save(tmp_path / 'a.pth', {wrap: weights, 'epoch': 3} if wrap else weights)
    report = load_pretrained(target, path, prefix='encoder')
    assert len(report.matched) == len(source.state_dict()) and not report.names()
    torch.testing.assert_close(target.state_dict(), source.state_dict())


def test_dropped_keys_stay_at_initialisation(tmp_path):
    source, target = net(), net()
    kept = target[2].weight.clone()
    load_pretrained(target, save(tmp_path / 'a.pth', source.state_dict()), drop=[r'^2\.'])
    assert torch.equal(target[2].weight, kept)
    assert torch.equal(target[0].weight, source[0].weight)


def test_too_little_match_is_one_error_and_loads_nothing(tmp_path):
    weights = net().state_dict()
    del weights['0.bias']
    path = save(tmp_path / 'a.pth', weights)
    target = net()
    kept = target[0].weight.clone()
    with pytest.raises(ValueError) as error:
        load_pretrained(target, path)
    text = str(error.value)
    assert path in text and '1 missing' in text and '0.bias' in text and 'max_missing' in text
    assert torch.equal(target[0].weight, kept)
    assert load_pretrained(target, path, max_missing=0.2).missing == ['0.bias']
    assert torch.equal(target[0].weight, weights['0.weight'])


def test_names_are_shown_five_at_most(tmp_path):
    path = save(tmp_path / 'a.pth', {'x': torch.zeros(1)})
    with pytest.raises(ValueError, match=r'and 3 more'):
        load_pretrained(net(), path)


def test_missing_file_names_path_and_key(tmp_path):
    path = str(tmp_path / 'nowhere.pth')
    with pytest.raises(FileNotFoundError, match=r'nowhere\.pth.*`init_cfg\.checkpoint`'):
        load_pretrained(net(), path)


def test_failed_download_names_address_and_folder(monkeypatch):
    def offline(*args, **kwargs):
        raise URLError('Name or service not known')

    monkeypatch.setattr(pretrained.CheckpointLoader, 'load_checkpoint', offline)
    with pytest.raises(
        ConnectionError, match=r'https://x/y\.pth.*Name or service not known.*checkpoints or name'
    ):
        load_pretrained(net(), 'https://x/y.pth')


def test_wrong_prefix_lists_what_is_there(tmp_path):
    path = save(tmp_path / 'a.pth', {'backbone.x': torch.zeros(1)})
    with pytest.raises(ValueError, match=r"prefix`='encoder\.'.*under: backbone"):
        load_pretrained(net(), path, prefix='encoder')


def test_file_without_weights(tmp_path):
    with pytest.raises(ValueError, match='holds a list, expected a state dict'):
        load_pretrained(net(), save(tmp_path / 'a.pth', [1, 2]))


class _Model(BaseModule):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone


@pytest.mark.parametrize('as_list', [False, True])
@pytest.mark.parametrize('nested', [False, True])
def test_backbone_loads_once_through_init_weights(tmp_path, monkeypatch, nested, as_list):
    source = ConvNeXt(TINY)
    weights = {f'backbone.{key}': value for key, value in source.state_dict().items()}
    cfg = dict(type='Pretrained', checkpoint=save(tmp_path / 'a.pth', weights), prefix='backbone.')
    init_cfg = [cfg, dict(type='Constant', layer='Conv2d', val=9.0)] if as_list else cfg
    backbone = ConvNeXt(TINY, init_cfg=init_cfg)
    calls = []
    load = pretrained.load_pretrained
    monkeypatch.setattr(
        pretrained, 'load_pretrained', lambda *a, **k: calls.append(1) or load(*a, **k)
    )
    module = _Model(backbone) if nested else backbone
    info: dict = {}
    dump = BaseModule._dump_init_info

    def record(self):
        names = {param: name for name, param in self.named_parameters()}
        info.setdefault(
            'first', {names[p]: v['init_info'] for p, v in self._params_init_info.items()}
        )
        return dump(self)

    monkeypatch.setattr(BaseModule, '_dump_init_info', record)
    module.init_weights()
    module.init_weights()  # warned about by mmengine, and without effect
    assert calls == [1]
    assert backbone.init_cfg == init_cfg and backbone.is_init
    torch.testing.assert_close(backbone.state_dict(), source.state_dict())
    stem = info['first'][('backbone.' if nested else '') + 'stem.0.weight']
    assert stem.startswith('Pretrained: loaded from') and 'a.pth' in stem


def test_resnet_ignores_the_classifier_and_reports_it(tmp_path, monkeypatch):
    source = ResNet(50, base_channels=2)
    weights = {**source.state_dict(), 'fc.weight': torch.zeros(1), 'fc.bias': torch.zeros(1)}
    cfg = dict(type='Pretrained', checkpoint=save(tmp_path / 'r.pth', weights))
    model = ResNet(50, base_channels=2, init_cfg=cfg)
    lines = []
    monkeypatch.setattr(pretrained, 'print_log', lambda line, **_: lines.append(line))
    model.init_weights()
    assert len(lines) == 1 and '2 unexpected' in lines[0] and 'fc.weight, fc.bias' in lines[0]
    torch.testing.assert_close(model.state_dict(), source.state_dict())


def test_resnet_without_pretraining_keeps_the_usual_initialisation():
    model = ResNet(50, base_channels=2)
    model.init_weights()
    assert not model.layer1[0].bn3.weight.any()


def test_unknown_option_lists_the_allowed_ones():
    model = ConvNeXt(TINY, init_cfg=dict(type='Pretrained', checkpoint='a.pth', strict=True))
    with pytest.raises(ValueError, match=r"'strict'.*allowed are checkpoint, prefix, max_missing"):
        model.init_weights()
