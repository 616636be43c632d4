import pytest
import torch
from conformance_utils import make_model, random_batch

from mmdense.deployment.wrapper import DeployedModel, inference_part, require_fit, size_rule
from mmdense.utils import ShapeError


@pytest.fixture(scope='module')
def model():
    return make_model('conv baseline').eval()


@pytest.mark.parametrize('size', [(64, 96), (50, 71)], ids=str)
def test_maps_are_those_of_a_test_step(model, size):
    """Normalisation, padding, cutting and decoding together."""
    batch = random_batch(model, (size, size))
    with torch.no_grad():
        found = DeployedModel(model)(torch.stack(batch['inputs']).float())
        samples = model.test_step(batch)
    assert list(found) == list(model.tasks)
    for key, task in model.tasks.items():
        for value, sample in zip(found[key], samples):
            expected = sample.pred(task)
            assert value.shape == expected.shape == (task.gt_channels, *size)
            torch.testing.assert_close(value.float(), expected.float(), atol=1e-4, rtol=1e-4)


def test_labels_have_the_type_of_their_ground_truth(model):
    found = DeployedModel(model)(torch.rand(1, 3, 64, 96) * 255)
    assert found['semseg'].dtype == torch.uint8
    assert found['depth'].dtype == torch.float32


def test_logits_are_those_of_the_tensor_mode(model):
    image = torch.rand(2, 3, 64, 96) * 255
    batch = model.data_preprocessor(dict(inputs=image, data_samples=None))
    with torch.no_grad():
        found, expected = DeployedModel(model, 'logits')(image), model(batch['inputs'])
    for key in expected:
        torch.testing.assert_close(found[key], expected[key])


def test_the_model_is_in_evaluation_mode_as_a_whole():
    trained = make_model('conv baseline').train()
    DeployedModel(trained)
    assert not [name for name, part in trained.backbone.named_modules() if part.training]
    assert not trained.training


def test_the_model_itself_stays_as_it_was(model):
    children = dict(model.named_children())
    view = inference_part(model)
    assert dict(model.named_children()) == children
    assert not hasattr(view, 'balancer') and hasattr(model, 'balancer')
    assert view.backbone is model.backbone


def test_weights_of_the_training_are_not_carried():
    trained = make_model('conv baseline')
    trained.train_only_probe = torch.nn.Linear(2, 2)
    keys = DeployedModel(trained).state_dict()
    assert not [key for key in keys if 'train_only' in key or 'balancer' in key]


def test_size_rule_serves_the_coarsest_map(model):
    assert size_rule(model) == (32, 0)
    require_fit((64, 96), (32, 0), 'here')
    require_fit((65, 97), (32, 1), 'here')
    with pytest.raises(ShapeError, match=r'50x71 came.*n \* 32 \+ 0.*Take 64x64'):
        require_fit((50, 71), (32, 0), 'here')


def test_wrong_use_is_explained(model):
    with pytest.raises(ValueError, match="'maps' or 'logits'"):
        DeployedModel(model, 'map')
    with pytest.raises(TypeError, match='a Linear came, expected a DensePredictor'):
        DeployedModel(torch.nn.Linear(1, 1))
