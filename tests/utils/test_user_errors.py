import os

import pytest

from mmdense.utils import DataError
from mmdense.utils.user_errors import describe, places


def caught(function):
    with pytest.raises(Exception) as info:
        function()
    return info.value


def test_places_gives_key_paths():
    found = dict(places(dict(a=[dict(b=1)])))
    assert found['a[0].b'] == 1


def test_unexpected_keyword_names_path_and_suggestion():
    from mmdense.tasks import SemSeg

    error = caught(lambda: SemSeg(num_clases=3))
    cfg = dict(default_scope='mmdense', deep=[dict(x=dict(type='SemSeg', num_clases=3))])
    text = describe(error, cfg)
    assert text.startswith('deep[0].x.num_clases: SemSeg takes no argument')
    assert "Did you mean 'num_classes'?" in text


def test_missing_argument_names_path():
    class Part:
        def __init__(self, width):
            self.width = width

    text = describe(caught(Part), dict(model=dict(neck=dict(type='Part'))))
    assert text.startswith('model.neck: ')
    assert "'width'" in text


def test_unregistered_type_deep_in_the_config():
    from mmdense.registry import MODELS

    cfg = dict(default_scope='mmdense', model=dict(inner=dict(type='DensePredictr')))
    text = describe(caught(lambda: MODELS.build(cfg['model']['inner'])), cfg)
    assert text.startswith("model.inner.type: 'DensePredictr'")
    assert "'DensePredictor'" in text


def test_missing_file_names_the_key_it_came_from(tmp_path):
    root = str(tmp_path / 'nowhere')
    cfg = dict(train_dataloader=dict(dataset=dict(data_root=root)))
    text = describe(caught(lambda: os.stat(os.path.join(root, 'a', 'b.txt'))), cfg)
    assert f"train_dataloader.dataset.data_root = '{root}'" in text
    assert '--cfg-options train_dataloader.dataset.data_root=...' in text


def test_own_errors_speak_for_themselves():
    assert describe(DataError('x is wrong'), {}) == 'x is wrong'


def test_other_errors_say_where_they_were_raised():
    def build():
        raise ValueError('width is 0')

    text = describe(caught(build), {})
    assert text.startswith('ValueError: width is 0 (raised in build, test_user_errors.py')


def test_corrupt_checkpoint_names_the_files_of_the_config():
    error = RuntimeError('PytorchStreamReader failed reading zip archive')
    text = describe(error, dict(load_from='a.pth'))
    assert "load_from = 'a.pth'" in text
