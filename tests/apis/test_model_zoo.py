"""Metafiles: their format, numbers that logged runs made, and the page."""

import copy
import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

from mmdense.apis.model_zoo import (
    MARKERS,
    add_runs,
    read_metafile,
    read_metafiles,
    zoo_page,
)
from mmdense.utils import DataError

ROOT = Path(__file__).parents[2]
FILES = read_metafiles(ROOT)
MODELS = [(file, model) for file in FILES for model in file.models]


def test_every_config_folder_has_a_readme_with_its_sections_and_a_metafile():
    folders = {path.parent for path in ROOT.glob('configs/*/*.py') if path.parent.name != '_base_'}
    assert {file.path.parent for file in FILES} == folders
    for file in FILES:
        text = (ROOT / file.collection['README']).read_text()
        assert file.collection['README'] == f'configs/{file.path.parent.name}/README.md'
        assert '## Train and test' in text or '```bash' in text
        if file.collection.get('Paper'):
            assert file.collection['Paper']['Title'] in text
            assert re.search(
                r'^## (Differences|Paper and released code|Where the paper is)', text, re.M
            )
            assert '## Citation' in text and '```bibtex' in text


def test_page_is_what_the_metafiles_say():
    page = ROOT / 'docs/model_zoo.md'
    text = page.read_text()
    table = text.split(MARKERS[0])[1].split(MARKERS[1])[0].strip()
    assert table == zoo_page(FILES, ROOT, page), 'run python tools/misc/model_zoo.py'


def flatten(metadata):
    """What `mim search` does with metadata: lists become one text."""
    return {k: ','.join(v) if isinstance(v, list) else v for k, v in metadata.items()}


def test_metafiles_can_be_searched_by_mim():
    rows = {}
    for file, model in MODELS:
        row = flatten(file.collection['Metadata']) | flatten(model['Metadata'])
        for result in model['Results']:
            for metric, value in result['Metrics'].items():
                key = f'{result["Dataset"].lower()}/{metric.lower()}'
                assert key not in row, f'{model["Name"]}: two numbers under one name'
                row[key] = value
        assert (ROOT / model['Config']).is_file()
        rows[model['Name']] = row
    assert rows['ctal-ss_r18-thin_1xb8-600_rooms-96x128']['Seeds'] == '0, 1, 2'


@pytest.mark.parametrize('method', ['ctal', 'demt', 'polymax'])
def test_numbers_are_those_of_the_page_of_the_method(method):
    """Two places hold them: a run that is measured again must reach both."""
    text = (ROOT / 'configs' / method / 'README.md').read_text()
    file = next(f for f in FILES if f.path.parent.name == method)
    assert file.models
    for model in file.models:
        for result in model['Results']:
            (value,) = result['Metrics'].values()
            scale = 100 if result.get('Percent') else 1
            forms = {f'{scale * value:.{digits}f}' for digits in (2, 3, 4)}
            assert any(form in text for form in forms), (model['Name'], forms)


def report(seed, value, name='toy_r18_1xb2-10_rooms-8x8', done=10):
    details = {
        'depth/rmse': dict(
            value=value, higher_is_better=False, percent=False, unit='m', protocol='pooled'
        )
    }
    return dict(
        run=dict(
            config=name,
            experiment='e',
            seed=seed,
            backbone=dict(name='r18', description='ResNet', weights='random'),
            parameters=7,
            schedule=dict(iterations=10, batch_size=2, done=done),
            data=dict(dataset='RoomsDataset', root=None, split='val'),
        ),
        iteration=done,
        pictures=3,
        resolution={'8x8': 3},
        profile=None,
        data=None,
        metrics={'depth/rmse': value},
        details=details,
        headlines=dict(depth='depth/rmse'),
    )


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / 'configs/toy'
    folder.mkdir(parents=True)
    (folder / 'toy_r18_1xb2-10_rooms-8x8.py').write_text('')
    (folder / 'README.md').write_text('# Toy\n')
    (tmp_path / 'model-index.yml').write_text('Import: [configs/toy/metafile.yml]\n')
    content = dict(
        Collections=[
            dict(Name='Toy', Metadata={'Architecture': ['ResNet']}, README='configs/toy/README.md')
        ],
        Models=[],
    )
    (folder / 'metafile.yml').write_text(yaml.safe_dump(content))
    return tmp_path


def write_run(checkout, seed, value, **changes):
    folder = checkout / f'runs/{seed}'
    folder.mkdir(parents=True)
    (folder / 'results_val.json').write_text(json.dumps(report(seed, value, **changes)))
    return folder


def tool():
    path = ROOT / 'tools/misc/model_zoo.py'
    spec = importlib.util.spec_from_file_location('model_zoo_tool', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_runs_become_rows_with_mean_deviation_and_protocol(checkout):
    runs = [write_run(checkout, 0, 1.0), write_run(checkout, 1, 2.0)]
    (checkout / 'docs').mkdir()
    page = checkout / 'docs/zoo.md'
    page.write_text(f'# Zoo\n{MARKERS[0]}\n{MARKERS[1]}\nend\n')
    arguments = ['--root', str(checkout), '--page', 'docs/zoo.md', '--add', *map(str, runs)]
    assert tool().main(arguments) == 0
    assert tool().main(arguments) == 0  # the same runs again change nothing
    (model,) = read_metafiles(checkout)[0].models
    (result,) = model['Results']
    assert result['Metrics'] == {'depth/rmse': 1.5}
    assert result['Deviations']['depth/rmse'] == pytest.approx(0.5**0.5, abs=1e-6)
    assert result['Dataset'] == 'Rooms val (3 pictures, 8x8)'
    assert model['Metadata'] == {
        'Training Data': 'Rooms',
        'Training Iterations': 10,
        'Batch Size': 2,
        'Parameters': 7,
        'Seeds': '0, 1',
    }
    text = page.read_text()
    assert '| Toy | 1.5000 ± 0.7071 | 2 |' in text and '1. pooled' in text
    assert '](../configs/toy/toy_r18_1xb2-10_rooms-8x8.py)' in text and text.endswith('end\n')


def test_unfinished_and_unknown_runs_are_refused(checkout):
    with pytest.raises(DataError, match='iteration 5 of 10'):
        add_runs(checkout, [write_run(checkout, 0, 1.0, done=5)])
    with pytest.raises(DataError, match='no folder'):
        add_runs(checkout, [write_run(checkout, 1, 1.0, name='other')])
    assert not read_metafiles(checkout)[0].models


def test_numbers_of_different_protocols_share_no_column(checkout):
    add_runs(checkout, [write_run(checkout, 0, 1.0)])
    (file,) = read_metafiles(checkout)
    other = copy.deepcopy(file.models[0])
    other['Results'][0].update(Protocol='per picture', Metrics={'depth/rmse': 9.0})
    file.models.append(other)
    table = zoo_page([file], checkout, checkout / 'page.md')
    assert '| depth/rmse m (1) | depth/rmse m (2) |' in table
    assert '| 1.0000 | - |' in table and '| - | 9.0000 |' in table


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda m: m['Metadata'].update(Seeds=[0, 1]), 'list of texts'),
        (lambda m: m.update(Results=[]), 'lacks Results'),
        (lambda m: m['Results'][0].pop('Protocol'), 'lacks Protocol'),
        (lambda m: m['Results'][0]['Metrics'].update({'depth/rmse': '1.0 m'}), 'expected numbers'),
        (lambda m: m.update({'In Collection': 'Tiy'}), "Did you mean 'Toy'"),
        (lambda m: m.update(Config='configs/toy/none.py'), 'is expected'),
    ],
)
def test_wrong_entries_are_named(checkout, change, message):
    add_runs(checkout, [write_run(checkout, 0, 1.0)])
    file = read_metafiles(checkout)[0]
    change(file.models[0])
    file.save()
    with pytest.raises(DataError, match=message):
        read_metafile(file.path)
