import pytest
import torch

from mmdense.utils.checkpoints import pretrained_files, require_checkpoint
from mmdense.utils.config_check import ConfigError


def test_whole_checkpoints_pass(tmp_path):
    new, old = tmp_path / 'new.pth', tmp_path / 'old.pth'
    torch.save(dict(a=torch.ones(3)), new)
    torch.save(dict(a=torch.ones(3)), old, _use_new_zipfile_serialization=False)
    require_checkpoint(str(new), '--resume')
    require_checkpoint(str(old), '--resume')
    require_checkpoint('https://somewhere/x.pth', '--resume')


def test_missing_checkpoint_names_its_neighbours(tmp_path):
    torch.save({}, tmp_path / 'iter_200.pth')
    with pytest.raises(ConfigError, match='does not exist') as caught:
        require_checkpoint(str(tmp_path / 'iter_300.pth'), '--resume')
    assert '--resume' in str(caught.value)
    assert 'iter_200.pth' in str(caught.value)


@pytest.mark.parametrize(
    ('keep', 'expected'), [(0, 'is empty'), (500, 'cut short'), (None, 'no file that torch.save')]
)
def test_damaged_checkpoint(tmp_path, keep, expected):
    path = tmp_path / 'x.pth'
    torch.save(dict(a=torch.ones(1000)), path)
    path.write_bytes(b'<html>not found</html>' if keep is None else path.read_bytes()[:keep])
    with pytest.raises(ConfigError, match=expected) as caught:
        require_checkpoint(str(path), 'CHECKPOINT')
    assert str(path) in str(caught.value)
    assert 'again' in str(caught.value)


def test_pretrained_files_are_found_at_any_depth():
    init = dict(type='Pretrained', checkpoint='a.pth')
    cfg = dict(model=dict(neck=[dict(init_cfg=init)], backbone=dict(init_cfg=[init])))
    assert sorted(pretrained_files(cfg)) == [
        ('model.backbone.init_cfg[0].checkpoint', 'a.pth'),
        ('model.neck[0].init_cfg.checkpoint', 'a.pth'),
    ]
