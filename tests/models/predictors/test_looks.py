import numpy as np
import pytest
import torch

from mmdense.models.predictors.looks import Looks, average_looks, window_starts
from mmdense.registry import TASKS
from mmdense.tasks import build_tasks

CONFIGS = dict(
    semseg=dict(type='SemSeg', num_classes=5),
    part=dict(type='Part'),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
    saliency=dict(type='Saliency', num_logits=2),
    reshading=dict(type='Reshading'),
    principal_curvature=dict(type='PrincipalCurvature'),
)
VARIANTS = dict(
    depth=dict(type='BinnedDepth', num_bins=6),
    normal=dict(type='CentroidNormal', num_centroids=7),
)
EVERY_TASK = [
    *build_tasks(CONFIGS).values(),
    *build_tasks(VARIANTS).values(),
    *build_tasks(
        dict(depth=dict(type='Depth', kind='disparity_px', min_depth=0, max_depth=80))
    ).values(),
]


def to_array(chw):
    array = chw.numpy()
    return array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)


def random_prediction(task, size=(6, 9)):
    return task.activate(torch.randn(2, task.num_channels, *size))


@pytest.mark.parametrize('task', EVERY_TASK, ids=repr)
def test_one_look_is_the_decoded_map(task):
    pred = random_prediction(task)
    once = task.from_average(task.to_average(pred))
    torch.testing.assert_close(once, task.decode(pred), rtol=0, atol=1e-6)
    assert once.dtype == task.decode(pred).dtype


@pytest.mark.parametrize('task', EVERY_TASK, ids=repr)
def test_a_mirrored_prediction_is_a_flipped_ground_truth(task):
    pred = random_prediction(task)
    mirrored = task.from_average(task.mirror(task.to_average(pred)))
    for one, other in zip(mirrored, task.decode(pred)):
        np.testing.assert_allclose(to_array(one), task.flip(to_array(other)), rtol=0, atol=1e-6)


def test_mean_direction_has_length_one_and_mean_depth_is_in_metres():
    tasks = build_tasks(dict(depth=dict(type='Depth'), normal=dict(type='Normal')))
    east, up = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0])
    mean = (east + up)[None, :, None, None] / 2
    torch.testing.assert_close(
        tasks['normal'].from_average(mean).flatten(), torch.tensor([0.5, 0.5, 0]).sqrt()
    )
    # Depths of 2 m and 4 m are 3 m on average.
    looked = average_looks(
        lambda inputs, paddings: dict(depth=torch.tensor([[[[2.0, 4.0]]]])),
        dict(depth=tasks['depth']),
        torch.zeros(1, 3, 1, 2),
        [(0, 0, 0, 0)],
        Looks(flip=True),
    )
    assert looked['depth'].tolist() == [[[[3.0, 3.0]]]]


def test_flip_of_normals_averages_directions_of_the_unmirrored_scene():
    task = TASKS.build(dict(type='Normal'))

    def predict(inputs, paddings):  # a network that always says "to the right"
        return dict(normal=torch.tensor([1.0, 0, 1])[None, :, None, None].expand(1, 3, 2, 2))

    found = average_looks(
        predict, dict(normal=task), torch.zeros(1, 3, 2, 2), [(0,) * 4], Looks(flip=True)
    )
    # Right in the picture and right in its mirror image cancel.
    assert task.from_average(found['normal'])[0, :, 0, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize('size', [(7, 11), (4, 5), (2, 3), (8, 5)])
@pytest.mark.parametrize('stride', [None, (1, 2), (4, 5)])
def test_windows_average_like_a_loop_over_pixels(size, stride):
    task = TASKS.build(dict(type='Reshading'))
    crop = (4, 5)

    def predict(inputs, paddings):  # depends on everything in the window, and on the place
        tilt = torch.linspace(0, 0.1, inputs.shape[-1])
        return dict(reshading=(inputs[:, :1] + inputs.mean((1, 2, 3), keepdim=True) + tilt) / 3)

    inputs = torch.rand(2, 3, *size)
    looks = Looks('slide', crop, stride)
    found = average_looks(predict, dict(reshading=task), inputs, [(0,) * 4] * 2, looks)['reshading']
    larger = torch.zeros(2, 3, max(size[0], 4), max(size[1], 5))
    larger[..., : size[0], : size[1]] = inputs
    steps = looks.steps
    for y in range(size[0]):
        for x in range(size[1]):
            seen = []
            for top in window_starts(larger.shape[2], 4, steps[0]):
                for left in window_starts(larger.shape[3], 5, steps[1]):
                    if top <= y < top + 4 and left <= x < left + 5:
                        window = larger[..., top : top + 4, left : left + 5]
                        seen.append(predict(window, None)['reshading'][:, :, y - top, x - left])
            torch.testing.assert_close(found[..., y, x], torch.stack(seen).mean(0))
    assert found.shape == (2, 1, *size)


def test_windows_are_told_where_their_padding_is():
    task = TASKS.build(dict(type='Reshading'))
    paddings = [(3, 2, 1, 4), (0, 6, 0, 0)]
    inputs = torch.zeros(2, 3, 13, 17)
    for picture, (left, right, top, bottom) in zip(inputs, paddings):
        picture[:, top : 13 - bottom, left : 17 - right] = 1
    wrong = []

    def predict(window, told):
        for picture, (left, right, top, bottom) in zip(window, told):
            expected = torch.zeros(6, 7)
            expected[top : 6 - bottom, left : 7 - right] = 1
            # A window without any picture in it is not masked at all.
            if picture.any() and not torch.equal(picture[0], expected):
                wrong.append((picture[0], (left, right, top, bottom)))
        return dict(reshading=window[:, :1])

    for flip in (False, True):
        average_looks(
            predict, dict(reshading=task), inputs, paddings, Looks('slide', (6, 7), (3, 4), flip)
        )
    assert not wrong


def test_every_position_is_covered():
    for length in range(1, 40):
        for window in (1, 3, 8):
            for stride in range(1, window + 1):
                covered = set()
                for start in window_starts(length, window, stride):
                    covered |= set(range(start, min(start + window, length)))
                    assert length <= window or start + window <= length
                assert covered == set(range(length))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(mode='tiles'), "'tiles'; choose 'whole' or 'slide'"),
        (dict(mode='slide'), 'needs the height and width'),
        (dict(mode='slide', crop_size=(8, 8), stride=(9, 4)), 'pixels are left out'),
        (dict(mode='slide', crop_size=(8, 0)), 'crop_size'),
    ],
)
def test_wrong_looks_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Looks(**options)
