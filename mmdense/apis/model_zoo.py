"""The model zoo: metafiles of the config folders, entries from logged runs, and the page of all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import relpath
from pathlib import Path
from typing import Any

import yaml

from mmdense.utils import DataError, suggest
from mmdense.utils.files import atomic_write_text

from .report_runs import Group, group_runs, load_run

#: The file that lists the metafiles, as `mim` expects it.
INDEX = 'model-index.yml'
#: What the tables of the page stand between.
MARKERS = ('<!-- zoo: begin -->', '<!-- zoo: end -->')
_MODEL_KEYS = ('Name', 'In Collection', 'Config', 'Metadata', 'Results')
_RESULT_KEYS = ('Task', 'Dataset', 'Metrics', 'Protocol')
#: Digits of numbers in tables; shares in percent and angles have 2.
_DIGITS = 4


@dataclass(frozen=True)
class Metafile:
    """``configs/<method>/metafile.yml``.

    Attributes:
        path: Where it is.
        collection: Name, paper and page of the method.
        models: Configs that were trained, with results; in the format of model-index.
    """

    path: Path
    collection: dict[str, Any]
    models: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.collection['Name'])

    def save(self) -> None:
        """Write the file, the models in the order of their names."""
        models = sorted(self.models, key=lambda model: model['Name'])
        content = dict(Collections=[self.collection], Models=models)
        text = yaml.safe_dump(content, sort_keys=False, width=110, allow_unicode=True)
        atomic_write_text(self.path, text)


def read_metafile(path: Path) -> Metafile:
    """Read and check a metafile.

    Beside what model-index asks for, these hold: lists of metadata are of texts, and a model has
    results, since `mim search` fails otherwise; every config is in the folder.

    Raises:
        DataError: If an entry is missing or says what means nothing.
    """
    content = yaml.safe_load(path.read_text(encoding='utf-8'))
    if not isinstance(content, dict) or set(content) != {'Collections', 'Models'}:
        raise DataError(f'{path}: expected the entries Collections and Models.')
    if len(content['Collections']) != 1:
        raise DataError(f'{path}: holds {len(content["Collections"])} collections, expected one.')
    file = Metafile(path, content['Collections'][0], content['Models'])
    _require(path, file.collection, ('Name', 'Metadata', 'README'))
    _check_metadata(path, file.collection['Metadata'])
    for model in file.models:
        _check_model(file, model)
    return file


def _require(where: Path | str, entry: Mapping[str, Any], keys: Sequence[str]) -> None:
    missing = [key for key in keys if not entry.get(key)]
    if missing:
        raise DataError(f'{where}: {entry.get("Name", "an entry")} lacks {", ".join(missing)}.')


def _check_metadata(where: Path | str, metadata: Mapping[str, Any]) -> None:
    for key, value in metadata.items():
        if isinstance(value, list) and not (value and all(isinstance(v, str) for v in value)):
            raise DataError(
                f'{where}: Metadata.{key} is {value}; `mim` joins lists with commas, so write a '
                'list of texts, or one text.'
            )


def _check_model(file: Metafile, model: Mapping[str, Any]) -> None:
    _require(file.path, model, _MODEL_KEYS)
    where = f'{file.path}: {model["Name"]}'
    config = file.path.parent / f'{model["Name"]}.py'
    if Path(model['Config']).name != config.name or not config.is_file():
        raise DataError(f'{where}: Config is {model["Config"]}; {config} is expected and exists.')
    if model['In Collection'] != file.name:
        raise DataError(f'{where}: {suggest(str(model["In Collection"]), [file.name])}')
    _check_metadata(where, model['Metadata'])
    for result in model['Results']:
        _require(where, result, _RESULT_KEYS)
        if not all(isinstance(value, int | float) for value in result['Metrics'].values()):
            raise DataError(f'{where}: Metrics are {result["Metrics"]}; expected numbers.')


def read_metafiles(root: Path) -> list[Metafile]:
    """All metafiles that the index of a checkout or an installed package names.

    Raises:
        DataError: If one is missing or wrong, or two collections or models share a name.
    """
    index = yaml.safe_load((root / INDEX).read_text(encoding='utf-8'))
    files = []
    for name in index['Import']:
        if not (root / name).is_file():
            raise DataError(f'{root / INDEX} names {name}, which does not exist.')
        files.append(read_metafile(root / name))
    names = [file.name for file in files] + [m['Name'] for file in files for m in file.models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f'{root / INDEX}: {", ".join(twice)} occurs twice.')
    return files


def model_entry(group: Group, collection: str, config: str) -> dict[str, Any]:
    """The entry of a config from its logged runs: means, and deviations where there are several.

    Args:
        group (Group): Runs of one experiment.
        collection (str): Name of the collection.
        config (str): Path of the config in the repository.
    """
    setting, facts = group.first.setting, group.first.facts
    schedule = facts.get('schedule') or {}
    seeds = sorted(run.seed for run in group.runs if run.seed is not None)
    size = ', '.join(group.first.report['resolution'])
    data = (facts.get('data') or {}).get('dataset', '').removesuffix('Dataset')
    metadata = {
        'Training Data': data,
        'Training Iterations': schedule.get('iterations'),
        'Batch Size': schedule.get('batch_size'),
        'Parameters': group.parameters,
        'Seeds': ', '.join(map(str, seeds)),
    }
    results = []
    for task, metric in group.headlines.items():
        stat, detail = group.stat(metric), group.details[metric]
        result: dict[str, Any] = dict(
            Task=task,
            Dataset=f'{data} {setting.split} ({group.first.report["pictures"]} pictures, {size})',
            Metrics={metric: round(stat.mean, 6)},
            Protocol=detail['protocol'],
        )
        if len(group.runs) > 1:
            result['Deviations'] = {metric: round(stat.std, 6)}
        if detail['percent']:
            result['Percent'] = True
        if detail['unit']:
            result['Unit'] = detail['unit']
        results.append(result)
    return {
        'Name': Path(config).stem,
        'In Collection': collection,
        'Config': config,
        'Metadata': {key: value for key, value in metadata.items() if value},
        'Results': results,
    }


def add_runs(root: Path, paths: Iterable[str | Path]) -> list[str]:
    """Write entries of logged runs into the metafiles of their configs; others stay as they are.

    Args:
        root (Path): The checkout.
        paths (Iterable): Work directories, or results files.

    Returns:
        list[str]: Names of the configs.

    Raises:
        DataError: If a run was not trained to its end, was of changed settings, or its config is
            in none of the folders.
    """
    files = {file.path.parent: file for file in read_metafiles(root)}
    groups = group_runs([load_run(path) for path in paths])
    for group in groups:
        for run in group.runs:
            if run.unfinished:
                raise DataError(f'{run.unfinished}. The zoo shows finished runs only.')
        configs = [folder / f'{group.name}.py' for folder in files]
        config = next((path for path in configs if path.is_file()), None)
        if config is None:
            raise DataError(
                f'{group.first.path}: no folder of {INDEX} has a config {group.name}.py.'
            )
        file = files[config.parent]
        entry = model_entry(group, file.name, config.relative_to(root).as_posix())
        file.models[:] = [m for m in file.models if m['Name'] != entry['Name']] + [entry]
        file.save()
    return [group.name for group in groups]


def zoo_page(files: Sequence[Metafile], root: Path, page: Path) -> str:
    """Tables of all methods and of all logged runs, in Markdown.

    Args:
        files (Sequence[Metafile]): Of :func:`read_metafiles`.
        root (Path): The checkout.
        page (Path): The page that the tables are for; links start there.
    """

    def link(text: str, target: Path) -> str:
        return f'[{text}]({Path(relpath(target, page.parent)).as_posix()})'

    lines = ['| Method | Paper | Configs | Logged runs |', '| -- | -- | --: | --: |']
    for file in files:
        paper = file.collection.get('Paper') or {}
        title = (
            f'[{paper["Title"]}]({paper["URL"]})' if paper.get('URL') else paper.get('Title', '')
        )
        count = len(list(file.path.parent.glob('*.py')))
        runs = len(file.models) or '-'
        name = link(file.name, file.path.with_name('README.md'))
        lines.append(f'| {name} | {title} | {count} | {runs} |')
    for dataset, rows in _by_dataset(files).items():
        lines += ['', f'## {dataset}', '', *_table(rows, link, root)]
    return '\n'.join(lines)


def _by_dataset(files: Sequence[Metafile]) -> dict[str, list[tuple[Metafile, dict[str, Any]]]]:
    found: dict[str, list[tuple[Metafile, dict[str, Any]]]] = {}
    for file in files:
        for model in file.models:
            found.setdefault(model['Results'][0]['Dataset'], []).append((file, model))
    return found


def _table(rows: Sequence[tuple[Metafile, dict[str, Any]]], link: Any, root: Path) -> list[str]:
    """A column per metric and protocol: numbers that were made in different ways share none."""
    columns: dict[tuple[str, str], str] = {}
    for _, model in rows:
        for result in model['Results']:
            for metric in result['Metrics']:
                unit = ' %' if result.get('Percent') else f' {result.get("Unit", "")}'.rstrip()
                columns.setdefault((metric, result['Protocol']), f'{metric}{unit}')
    numbers = {protocol: i + 1 for i, protocol in enumerate(dict.fromkeys(p for _, p in columns))}
    titles = [f'{title} ({numbers[protocol]})' for (_, protocol), title in columns.items()]
    lines = [
        f'| Config | Method | {" | ".join(titles)} | seeds |',
        f'| -- | -- | {" | ".join("--:" for _ in titles)} | --: |',
    ]
    for file, model in rows:
        cells = {
            (metric, result['Protocol']): _number(result, metric)
            for result in model['Results']
            for metric in result['Metrics']
        }
        name = link(model['Name'], root / model['Config'])
        values = ' | '.join(cells.get(column, '-') for column in columns)
        seeds = len(str(model['Metadata']['Seeds']).split(','))
        lines.append(f'| {name} | {file.name} | {values} | {seeds} |')
    return [*lines, '', *(f'{number}. {protocol}' for protocol, number in numbers.items())]


def _number(result: Mapping[str, Any], metric: str) -> str:
    scale = 100 if result.get('Percent') else 1
    digits = 2 if result.get('Percent') or result.get('Unit') == 'deg' else _DIGITS
    mean = f'{scale * result["Metrics"][metric]:.{digits}f}'
    deviation = result.get('Deviations', {}).get(metric)
    return mean if deviation is None else f'{mean} ± {scale * deviation:.{digits}f}'
