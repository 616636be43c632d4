import hashlib
import json

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from mmengine.runner.checkpoint import CheckpointLoader

from mmdense.apis.publish import publish
from mmdense.utils.checkpoints import read_checkpoint, require_checkpoint, weights_digest
from mmdense.utils.config_check import ConfigError


@pytest.fixture
def source(tmp_path):
    path = tmp_path / 'iter_3.pth'
    shared = torch.ones(2, dtype=torch.bfloat16)
    torch.save(
        dict(
            state_dict=dict(w=torch.ones(2), a=shared, b=shared[1:], n=torch.tensor(7)),
            optimizer=dict(state={}),
            param_schedulers=[],
            message_hub=dict(log={}),
            meta=dict(iter=3, cfg='a = 1', dataset_meta=dict(palette=[(1, 2, 3)])),
        ),
        path,
    )
    return path


def report(path, **changes):
    details = {'depth/rmse': dict(value=0.5, unit='m', higher_is_better=False, protocol='pooled')}
    content = dict(
        iteration=3,
        metrics={'depth/rmse': 0.5},
        details=details,
        data='rooms',
        pictures=4,
        run=dict(data=dict(split='val')),
    )
    path.write_text(json.dumps(content | changes))
    return str(path)


def safe(path):
    """What the plain loader of each format gives: weights and meta."""
    if path.suffix == '.pth':
        found = torch.load(path, weights_only=True)
        return found['state_dict'], found['meta']
    load_file = pytest.importorskip('safetensors.torch').load_file
    with pytest.importorskip('safetensors').safe_open(path, 'pt') as file:
        return load_file(path), json.loads(file.metadata()['meta'])


@pytest.mark.parametrize('form', ['pth', 'safetensors'])
def test_safe_loaders_read_weights_and_record(form, source, tmp_path):
    path = publish(str(source), str(tmp_path / 'out' / 'x'), form=form, licence='CC0-1.0')
    weights, meta = safe(path)
    original = torch.load(source)['state_dict']
    assert weights.keys() == original.keys()
    assert all(torch.equal(weights[k], original[k]) for k in original)
    assert all(weights[k].dtype == original[k].dtype for k in original)
    assert meta['iter'] == 3 and meta['cfg'] == 'a = 1'
    assert meta['mmdense']['licence'] == 'CC0-1.0'
    assert meta['mmdense']['weights_sha256'] == weights_digest(original)
    assert 'metrics' not in meta['mmdense']


@pytest.mark.parametrize('form', ['pth', 'safetensors'])
def test_everything_that_reads_checkpoints_reads_both_formats(form, source, tmp_path):
    pytest.importorskip('safetensors')
    path = publish(str(source), str(tmp_path / 'x'), form=form)
    require_checkpoint(str(path), 'CHECKPOINT')
    for found in (
        read_checkpoint(path),
        CheckpointLoader.load_checkpoint(str(path), 'cpu'),
        read_checkpoint(publish(str(path), str(tmp_path / 'again'))),
    ):
        assert torch.equal(found['state_dict']['w'], torch.ones(2))
        assert found['meta']['mmdense']['licence'] == 'not stated'


def test_only_weights_and_what_the_file_is_stay_without_the_record_of_the_training(
    source, tmp_path
):
    path = publish(str(source), str(tmp_path / 'y.pth'), keep_meta=False)
    kept = torch.load(path, weights_only=True)
    assert set(kept) == {'state_dict', 'meta'}
    assert set(kept['meta']) == {'mmdense'}


def test_numbers_come_with_their_protocol(source, tmp_path):
    report(tmp_path / 'results_val.json')
    record = safe(publish(str(source), str(tmp_path / 'x')))[1]['mmdense']
    told = record['metrics']['depth/rmse']
    assert told == dict(value=0.5, unit='m', higher_is_better=False, protocol='pooled')
    assert record['evaluation']['data'] == 'rooms'
    assert record['evaluation']['split'] == 'val'


def test_numbers_of_another_checkpoint_are_not_taken(source, tmp_path):
    other = report(tmp_path / 'results_val.json', iteration=9)
    assert 'metrics' not in safe(publish(str(source), str(tmp_path / 'x')))[1]['mmdense']
    with pytest.raises(ConfigError, match='iteration 9, the checkpoint of 3'):
        publish(str(source), str(tmp_path / 'x'), results=other)
    tested = report(tmp_path / 't.json', iteration=0, checkpoint='work_dirs/x/iter_8.pth')
    with pytest.raises(ConfigError, match=r'numbers of work_dirs/x/iter_8\.pth'):
        publish(str(source), str(tmp_path / 'x'), results=tested)
    tested = report(tmp_path / 't.json', iteration=0, checkpoint='elsewhere/iter_3.pth')
    assert safe(publish(str(source), str(tmp_path / 'x'), results=tested))[1]['mmdense']['metrics']
    (tmp_path / 'n.json').write_text('{}')
    with pytest.raises(ConfigError, match='holds no `metrics`'):
        publish(str(source), str(tmp_path / 'x'), results=str(tmp_path / 'n.json'))


def test_name_holds_the_digits_of_the_file(source, tmp_path):
    path = publish(str(source), str(tmp_path / 'x.pth'))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f'x-{digest[:8]}.pth'


def test_changed_weights_are_noticed(source, tmp_path):
    path = publish(str(source), str(tmp_path / 'x'))
    checkpoint = torch.load(path)
    checkpoint['state_dict']['w'][0] = 2
    torch.save(checkpoint, path)
    with pytest.raises(ConfigError, match='not those that the file was published with'):
        read_checkpoint(path)


def test_a_cut_safetensors_file_is_refused(source, tmp_path):
    pytest.importorskip('safetensors')
    path = publish(str(source), str(tmp_path / 'x'), form='safetensors')
    whole = path.read_bytes()
    for keep, text in ((len(whole) - 1, 'tensors are incomplete'), (30, 'header is incomplete')):
        path.write_bytes(whole[:keep])
        with pytest.raises(ConfigError, match=text):
            require_checkpoint(str(path), 'CHECKPOINT')


def test_weights_that_the_ema_hook_saved_are_the_averaged_ones(source, tmp_path):
    """As ``EMAHook`` writes a checkpoint: it exchanges the two sets of weights."""
    model = torch.nn.Linear(1, 1, bias=False)
    hook = EMAHook()
    hook.ema_model = ExponentialMovingAverage(model)
    averaged, trained = torch.tensor([[3.0]]), torch.tensor([[5.0]])
    hook.ema_model.module.weight.data.copy_(averaged)
    checkpoint = torch.load(source)
    checkpoint['state_dict'] = {'weight': trained}
    hook.before_save_checkpoint(None, checkpoint)
    assert checkpoint['ema_state_dict']['module.weight'] == 5
    torch.save(checkpoint, source)
    kept = torch.load(publish(str(source), str(tmp_path / 'x')))
    assert kept['state_dict'] == {'weight': averaged}


def test_what_is_no_checkpoint_is_refused(tmp_path):
    torch.save([1], tmp_path / 'a.pth')
    with pytest.raises(ConfigError, match='no `state_dict`'):
        publish(str(tmp_path / 'a.pth'), 'x')
    with pytest.raises(ConfigError, match='does not exist'):
        publish(str(tmp_path / 'b.pth'), 'x')
    with pytest.raises(ConfigError, match="Did you mean 'safetensors'"):
        publish(str(tmp_path / 'a.pth'), 'x', form='safetensor')
