import subprocess
import sys

import pytest
import torch
from tiny_predictor import tiny_checkpoint, tiny_config

from mmdense.apis import inference_model, init_model, resolve_config
from mmdense.utils.config_check import ConfigError
from mmdense.utils.config_names import known_configs


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp('weights') / 'iter_3.pth', tiny_config())


def test_weights_and_config_of_a_checkpoint(checkpoint):
    model = init_model(None, checkpoint, cfg_options={'model.test_cfg': dict(resized='maps')})
    assert not model.training
    assert model.test_cfg['resized'] == 'maps'
    weights = torch.load(checkpoint)['state_dict']
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights[key])
    assert model.cfg.model.backbone.type == 'TinyInferenceBackbone'


def test_maps_are_native_whatever_the_config_tests(checkpoint):
    cfg = tiny_config(pipeline=[dict(type='TaskAwareResize', size=(24, 32))])
    cfg.model.test_cfg = dict(resize=False)
    (maps,) = inference_model(init_model(cfg, checkpoint), torch.zeros(3, 50, 70).byte())
    assert {item.size for item in maps.values()} == {(50, 70)}


def test_regularizers_are_left_out(checkpoint):
    cfg = tiny_config()
    cfg.model.regularizers = dict(any=dict(type='NoSuchRegularizer'))
    model = init_model(cfg, checkpoint)
    assert not [name for name, _ in model.named_children() if name.startswith('train_only')]
    assert 'regularizers' in cfg.model  # the given config stays as it is


def test_random_weights_are_told():
    with pytest.warns(UserWarning, match='the weights are random'):
        init_model(tiny_config())


def test_weights_that_do_not_fit_are_refused(checkpoint, tmp_path):
    cfg = tiny_config()
    cfg.model.heads.semseg.channels = 9
    with pytest.raises(
        ConfigError, match=r'iter_3.pth\' does not fit the config: .* another shape'
    ):
        init_model(cfg, checkpoint)
    stored = torch.load(checkpoint)
    stored['state_dict'].pop('backbone.conv.bias')
    torch.save(stored, tmp_path / 'x.pth')
    with pytest.raises(ConfigError, match=r'1 of \d+ weights .* no backbone.conv.bias'):
        init_model(tiny_config(), tmp_path / 'x.pth')


def test_unused_weights_are_told(checkpoint, tmp_path):
    stored = torch.load(checkpoint)
    stored['state_dict']['elsewhere.weight'] = torch.ones(1)
    torch.save(stored, tmp_path / 'x.pth')
    with pytest.warns(UserWarning, match=r'1 weights have no place .* elsewhere.weight'):
        init_model(tiny_config(), tmp_path / 'x.pth')


def test_safetensors_are_the_same_weights(checkpoint, tmp_path):
    library = pytest.importorskip('safetensors.torch')
    weights = torch.load(checkpoint)['state_dict']
    library.save_file(weights, tmp_path / 'x.safetensors', metadata=dict(licence='none'))
    model = init_model(tiny_config(), tmp_path / 'x.safetensors')
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights[key])
    (tmp_path / 'y.safetensors').write_bytes(b'junk')
    with pytest.raises(ConfigError, match='cannot be read'):
        init_model(tiny_config(), tmp_path / 'y.safetensors')
    with pytest.raises(ConfigError, match='does not exist'):
        init_model(tiny_config(), tmp_path / 'z.safetensors')


@pytest.mark.parametrize(
    ('config', 'weights', 'message'),
    [
        (None, None, 'Neither a config nor a checkpoint'),
        (dict(a=1), None, 'has no `model`'),
        (tiny_config(), 'gone.pth', 'does not exist'),
    ],
)
def test_what_is_missing_is_named(config, weights, message):
    with pytest.raises(ConfigError, match=message):
        init_model(config, weights)


def test_checkpoint_without_a_config_asks_for_one(tmp_path):
    with pytest.raises(ConfigError, match='Name the config too'):
        init_model(None, tiny_checkpoint(tmp_path / 'x.pth'))


def test_model_without_tasks_is_refused():
    cfg = dict(model=dict(type='mmdense.SILogLoss'))
    with pytest.raises(ConfigError, match='a SILogLoss, which has no tasks'):
        init_model(cfg)


def test_configs_by_name_and_by_path(tmp_path, monkeypatch):
    name = 'demt_r18-thin_1xb8-600_rooms-96x128'
    path = resolve_config(name)
    assert path.endswith(f'configs/demt/{name}.py')
    assert resolve_config(path) == resolve_config(f'{name}.py') == path
    monkeypatch.chdir(tmp_path)  # from any folder, with or without that of the checkout
    assert resolve_config(f'configs/demt/{name}.py') == path
    with pytest.raises(ConfigError, match=f'Did you mean .*{name}'):
        resolve_config('demt_r18-thin_1xb8-600_room-96x128')
    with pytest.raises(
        ConfigError, match=f'none of|neither a file nor one of the {len(known_configs())}'
    ):
        resolve_config('zzzz')


def test_the_room_is_light_to_enter():
    code = "import sys, mmdense.apis; assert 'torch' not in sys.modules; print(dir(mmdense.apis))"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert "'DenseInferencer'" in done.stdout


def test_names_of_configs_are_unique():
    known = known_configs()
    assert len(known) > 100
    folder = next(iter(known.values())).parents[1]
    files = [path for path in folder.rglob('*.py') if '_base_' not in path.parts]
    assert len(files) == len(known)
