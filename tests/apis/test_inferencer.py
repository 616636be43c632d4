import itertools

import numpy as np
import pytest
import torch
from picture_files import bad_files, good_files, picture
from tiny_predictor import TASKS, tiny_checkpoint, tiny_config

from mmdense.apis import DenseInferencer, inference_model, init_model
from mmdense.apis.savers import read_npz
from mmdense.registry import INFERENCERS, MODELS
from mmdense.utils import DataError

GOOD, BAD = good_files(), bad_files()


def make(pipeline=(), **preprocessor):
    cfg = tiny_config(pipeline, **preprocessor)
    torch.manual_seed(3)
    model = MODELS.build(cfg.model).eval()
    model.cfg = cfg
    return DenseInferencer(model, show_progress=False, device='cpu')


@pytest.fixture(scope='module')
def inferencer():
    return make(size_divisor=8)


def same(one, other, tolerance=1e-5):
    assert list(one) == list(other)
    for key in one:
        if one[key].kind == 'labels':
            assert (one[key].value != other[key].value).mean() < 1e-3
        else:
            np.testing.assert_allclose(one[key].value, other[key].value, rtol=0, atol=tolerance)


def test_maps_are_typed_and_native(inferencer):
    maps = inferencer(picture(50, 70))['predictions'][0]
    assert list(maps) == list(TASKS)
    kinds = {key: (item.kind, item.unit, item.value.dtype.name) for key, item in maps.items()}
    assert kinds == dict(
        semseg=('labels', 'class', 'uint8'),
        depth=('depth', 'm', 'float32'),
        normal=('direction', 'unit vector', 'float32'),
        boundary=('probability', 'probability', 'float32'),
        reshading=('values', '', 'float32'),
    )
    for item in maps.values():
        assert item.value.shape == ((50, 70, 3) if item.kind == 'direction' else (50, 70))
        assert item.valid.shape == (50, 70)
    np.testing.assert_allclose(np.linalg.norm(maps['normal'].value, axis=-1), 1, atol=1e-5)
    assert maps['semseg'].classes[3] == 'chair'


def test_maps_are_those_of_the_model(inferencer):
    rgb = picture(48, 64)
    found = inference_model(inferencer.model, rgb)[0]
    batch = dict(inputs=[torch.from_numpy(rgb.transpose(2, 0, 1).copy())], data_samples=None)
    with torch.no_grad():
        (sample,) = inferencer.model.test_step(batch)
    for key, task in inferencer.model.tasks.items():
        expected = sample.pred(task).numpy()
        np.testing.assert_array_equal(found[key].value, expected.transpose(1, 2, 0).squeeze())


def test_results_do_not_depend_on_the_batch(inferencer):
    pictures = [picture(*size) for size in ((48, 64), (50, 70), (48, 64), (9, 200), (48, 64))]
    pictures[2] = pictures[2][::-1]
    alone = [inferencer(one)['predictions'][0] for one in pictures]
    for batch_size in (2, 5, 8):
        together = inferencer(pictures, batch_size=batch_size)['predictions']
        for one, other in zip(alone, together, strict=True):
            same(one, other)


def test_good_pictures_beside_bad_ones_are_unharmed(inferencer, tmp_path):
    names = sorted([*GOOD, *BAD])
    for name in names:
        (tmp_path / name).write_bytes((GOOD.get(name) or BAD[name])[0])
    found = inferencer(tmp_path, on_error='skip', batch_size=4)
    assert [path.rsplit('/', 1)[1] for path in found['names']] == names
    assert {path.rsplit('/', 1)[1] for path in found['errors']} == set(BAD)
    for name, maps in zip(names, found['predictions']):
        if name in BAD:
            assert maps is None
            continue
        assert maps['depth'].size == GOOD[name][1].shape[:2]
        same(maps, inferencer(str(tmp_path / name))['predictions'][0])
    with pytest.raises(DataError, match=r'empty.png: the file is empty'):
        inferencer([str(tmp_path / 'empty.png')])


def test_one_picture_in_every_form(inferencer, tmp_path):
    content, rgb = GOOD['grey.png']
    (tmp_path / 'x.png').write_bytes(content)
    forms = [
        str(tmp_path / 'x.png'),
        tmp_path,
        str(tmp_path / '*.png'),
        content,
        rgb,
        torch.from_numpy(rgb).permute(2, 0, 1),
        dict(img=content),
        (item for item in [rgb]),
    ]
    expected = inferencer(rgb)['predictions'][0]
    for inputs in forms:
        (maps,) = inferencer(inputs)['predictions']
        same(maps, expected, 0)


def test_pictures_larger_than_the_frame_of_a_model_are_shrunk():
    inferencer = make(size=(32, 48))
    sizes = []
    inferencer.model.backbone.register_forward_pre_hook(lambda m, x: sizes.append(x[0].shape))
    maps = inferencer([picture(64, 96), picture(100, 50), picture(16, 20)])['predictions']
    assert {tuple(size) for size in sizes} == {(1, 3, 32, 48)}
    assert [m['depth'].size for m in maps] == [(64, 96), (100, 50), (16, 20)]
    padded = make(pipeline=[dict(type='TaskAwarePad', size=(32, 48), position='center')])
    assert padded(picture(64, 96))['predictions'][0]['normal'].size == (64, 96)


def test_very_large_pictures_are_shrunk_for_the_network():
    inferencer = make()
    inferencer.pipeline.max_pixels = 64 * 64
    sizes = []
    inferencer.model.backbone.register_forward_pre_hook(lambda m, x: sizes.append(x[0].shape))
    assert inferencer(picture(96, 384))['predictions'][0]['depth'].size == (96, 384)
    # A ninth of the pixels is a third of each side.
    assert tuple(sizes[0]) == (1, 3, 32, 128)


def test_flipping_a_picture_flips_its_maps(inferencer):
    rgb = picture(48, 64)
    maps = inferencer(rgb, flip=True)['predictions'][0]
    mirrored = inferencer(rgb[:, ::-1], flip=True)['predictions'][0]
    for key, task in inferencer.model.tasks.items():
        expected = task.flip(maps[key].value)
        if maps[key].kind == 'labels':
            assert (mirrored[key].value != expected).mean() < 1e-2
        else:
            np.testing.assert_allclose(mirrored[key].value, expected, rtol=0, atol=1e-5)
    single = inferencer(rgb)['predictions'][0]
    assert np.abs(single['normal'].value - maps['normal'].value).max() > 1e-3


def test_one_window_is_the_whole_picture(inferencer):
    rgb = picture(48, 64)
    whole = inferencer(rgb)['predictions'][0]
    same(inferencer(rgb, mode='slide', crop_size=(48, 64))['predictions'][0], whole)
    parts = inferencer(rgb, mode='slide', crop_size=(24, 32), stride=(8, 16))['predictions'][0]
    assert parts['depth'].size == (48, 64)
    assert np.abs(parts['depth'].value - whole['depth'].value).max() > 1e-4


def test_windows_have_the_fixed_size_of_a_model():
    inferencer = make(size=(32, 48))
    sizes = []
    inferencer.model.backbone.register_forward_pre_hook(lambda m, x: sizes.append(x[0].shape))
    maps = inferencer([picture(64, 96), picture(10, 100)], mode='slide')['predictions']
    assert {tuple(size) for size in sizes} == {(1, 3, 32, 48)}
    assert [m['depth'].size for m in maps] == [(64, 96), (10, 100)]
    assert inferencer.model.data_preprocessor.size == (32, 48)  # as before
    assert inferencer.model.test_cfg['mode'] == 'whole'


def test_raw_maps_decode_to_the_maps(inferencer):
    rgb = picture(50, 70)
    found = inferencer([rgb, picture(9, 9)], return_raw=True)
    maps, raw = found['predictions'][0], found['raw'][0]
    same(maps, inferencer(rgb)['predictions'][0], 1e-6)
    assert {key: item.prediction.shape for key, item in raw.items()} == dict(
        semseg=(5, 50, 70),
        depth=(1, 50, 70),
        normal=(3, 50, 70),
        boundary=(1, 50, 70),
        reshading=(1, 50, 70),
    )
    np.testing.assert_array_equal(raw['semseg'].prediction.argmax(0), maps['semseg'].value)
    probability = 1 / (1 + np.exp(-raw['boundary'].prediction[0]))
    np.testing.assert_allclose(probability, maps['boundary'].value, rtol=1e-5)
    assert found['raw'][1]['depth'].prediction.shape == (1, 9, 9)
    with pytest.raises(ValueError, match='return_raw=True is for one look'):
        inferencer(rgb, return_raw=True, flip=True)


def test_stream_reads_no_further_than_it_must(inferencer):
    read = []

    def endless():
        for index in itertools.count():
            read.append(index)
            yield picture(16, 16)

    stream = inferencer.stream(endless(), batch_size=2)
    assert [next(stream).index for _ in range(4)] == [0, 1, 2, 3]
    stream.close()
    assert len(read) <= 12
    assert inferencer.model.test_cfg['mode'] == 'whole'


def test_streamed_files_are_those_of_the_pictures(inferencer, tmp_path):
    pictures = [picture(16, 24), picture(20, 12)[::-1]]
    inputs = [dict(img=rgb, name='a/x.png') for rgb in pictures]
    for found in inferencer.stream(inputs, out_dir=tmp_path, formats=('npz',)):
        same(found.maps, read_npz(found.files[0]), 0)
        same(found.maps, inferencer(pictures[found.index])['predictions'][0], 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['x.npz', 'x_1.npz']


def test_panels_show_every_map(inferencer):
    found = inferencer([picture(50, 70), picture(9, 500)], return_panel=True)
    for panel in found['visualization']:
        assert panel.dtype == np.uint8
        assert panel.shape[2] == 3
    columns, rows = 4, 2  # the picture and five maps
    assert found['visualization'][0].shape[0] > rows * 240
    assert found['visualization'][0].shape[1] > columns * 300


def test_config_by_file_with_weights(tmp_path):
    path = tmp_path / 'tiny.py'
    tiny_config(size_divisor=8).dump(path)
    weights = tiny_checkpoint(tmp_path / 'x.pth')
    by_path = DenseInferencer(str(path), weights, device='cpu', show_progress=False)
    model = init_model(str(path), weights)
    same(by_path(picture())['predictions'][0], inference_model(model, picture())[0], 0)
    assert INFERENCERS.get('DenseInferencer') is DenseInferencer


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(batchsize=2), "Did you mean 'batch_size'"),
        (dict(on_error='ignore'), "choose 'raise' or 'skip'"),
        (dict(batch_size=0), 'must be 1 or more'),
        (dict(formats=('jpg',)), "'jpg' cannot be written"),
        (dict(mode='slide'), 'no fixed size of its own'),
        (dict(mode='tiles'), "choose 'whole' or 'slide'"),
    ],
)
def test_wrong_options_are_refused(inferencer, options, message):
    with pytest.raises(ValueError, match=message):
        list(inferencer.stream(picture(), **options))
