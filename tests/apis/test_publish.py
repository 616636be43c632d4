import hashlib

import pytest
import torch

from mmdense.apis.publish import publish
from mmdense.utils.config_check import ConfigError


@pytest.fixture
def source(tmp_path):
    path = tmp_path / 'iter_3.pth'
    torch.save(
        dict(
            state_dict=dict(w=torch.ones(2)),
            optimizer=dict(state={}),
            param_schedulers=[],
            message_hub=dict(log={}),
            meta=dict(iter=3),
        ),
        path,
    )
    return path


def test_only_weights_and_record_stay(source, tmp_path):
    path = publish(str(source), str(tmp_path / 'out' / 'x.pth'))
    kept = torch.load(path)
    assert set(kept) == {'state_dict', 'meta'}
    assert torch.equal(kept['state_dict']['w'], torch.ones(2))
    assert set(torch.load(publish(str(source), str(tmp_path / 'y'), keep_meta=False))) == {
        'state_dict'
    }


def test_name_holds_the_digits_of_the_file(source, tmp_path):
    path = publish(str(source), str(tmp_path / 'x.pth'))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f'x-{digest[:8]}.pth'


def test_averaged_weights_win(source, tmp_path):
    checkpoint = torch.load(source)
    checkpoint['ema_state_dict'] = {'module.w': torch.zeros(2), 'steps': torch.tensor(3)}
    torch.save(checkpoint, source)
    kept = torch.load(publish(str(source), str(tmp_path / 'x')))
    assert list(kept['state_dict']) == ['w']
    assert not kept['state_dict']['w'].any()


def test_what_is_no_checkpoint_is_refused(tmp_path):
    torch.save([1], tmp_path / 'a.pth')
    with pytest.raises(ConfigError, match='no `state_dict`'):
        publish(str(tmp_path / 'a.pth'), 'x')
    with pytest.raises(ConfigError, match='does not exist'):
        publish(str(tmp_path / 'b.pth'), 'x')
