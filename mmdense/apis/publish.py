"""Checkpoints that are given away: only weights, and what a reader must know about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdense.models.regularizers.train_only import strip_checkpoint
from mmdense.utils import suggest
from mmdense.utils.checkpoints import (
    RECORD,
    read_checkpoint,
    require_checkpoint,
    save_under_digest,
    weights_digest,
)
from mmdense.utils.config_check import ConfigError
from mmdense.utils.files import plain
from mmdense.version import __version__

#: Format to the suffix of its files.
FORMATS = {'pth': '.pth', 'safetensors': '.safetensors'}
# What is told of a metric, beside its value.
_TOLD = ('unit', 'percent', 'higher_is_better', 'protocol')


def publish(
    source: str,
    target: str,
    keep_meta: bool = True,
    form: str = 'pth',
    licence: str | None = None,
    results: str | None = None,
) -> Path:
    """Strip a checkpoint and write it under ``<target>-<first digits of its SHA-256>``.

    Weights of training-only parts, such as regularizers, are left out, and so is
    ``ema_state_dict``: mmengine's ``EMAHook`` stores the averaged weights, which were validated,
    as ``state_dict`` and keeps there what training goes on from. The file holds tensors and
    plain values only: a ``.pth`` loads with ``torch.load(file, weights_only=True)``, a
    ``.safetensors`` with that library; both with
    :func:`mmdense.utils.checkpoints.read_checkpoint`, which compares the digest of the weights.

    ``meta['mmdense']`` says: ``version``; ``weights_sha256``, a digest of names, types, shapes
    and values that is the same in both formats; ``licence``; ``metrics``, name to ``value``,
    unit, direction and ``protocol``; ``evaluation``, on what data they were measured.

    Args:
        source (str): Checkpoint of a training.
        target (str): Where to write, with or without the suffix.
        keep_meta (bool): Whether to keep the record of the training (config, iteration).
        form (str): ``'pth'`` or ``'safetensors'``.
        licence (str | None): Of the weights, best as an SPDX name. They inherit limits of the data
            and of the pretrained weights that they come from. None: ``'not stated'``.
        results (str | None): ``results_val.json`` of the run, or what ``tools/test.py --out``
            wrote. None: ``results_val.json`` beside ``source`` if it is of the same iteration.

    Returns:
        Path: The file that was written; it appears whole or not at all.

    Raises:
        ConfigError: If ``source`` is missing, damaged, or holds no weights, ``results`` is
            missing or of another checkpoint, or ``form`` is unknown.
    """
    if form not in FORMATS:
        raise ConfigError(f'publish: format {form!r}. {suggest(form, FORMATS)}')
    require_checkpoint(source, 'publish: source')
    checkpoint = read_checkpoint(source)
    if 'state_dict' not in checkpoint:
        raise ConfigError(f'{source} holds no `state_dict`, so there is nothing to publish.')
    checkpoint = strip_checkpoint(checkpoint)
    weights = checkpoint['state_dict']
    # Copies where tensors share memory: safetensors refuses views of one storage.
    weights = {name: value.detach().clone().contiguous() for name, value in weights.items()}
    trained = plain(checkpoint.get('meta') or {})
    record = dict(
        trained.pop(RECORD, None) or {},
        version=__version__,
        weights_sha256=weights_digest(weights),
    )
    record['licence'] = licence or record.get('licence') or 'not stated'
    record |= _measured(source, results, trained.get('iter'))
    meta = {**(trained if keep_meta else {}), RECORD: record}
    stem = target.removesuffix(FORMATS[form])
    return save_under_digest(dict(state_dict=weights, meta=meta), stem, FORMATS[form])


def _measured(source: str, results: str | None, iteration: Any) -> dict[str, Any]:
    """Entries ``metrics`` and ``evaluation``; empty if nothing is known."""
    beside = Path(source).with_name('results_val.json')
    if results is None and not beside.is_file():
        return {}
    path = beside if results is None else Path(results)
    report = _read_report(path)
    other = _of_another(report, source, iteration)
    if other and results is None:
        return {}
    if other:
        raise ConfigError(f'--results {results}: {other} Give the numbers of {source}.')
    details: Mapping[str, Any] = report.get('details') or {}
    metrics = {
        name: dict(
            value=value,
            **{key: details[name][key] for key in _TOLD if key in details.get(name, {})},
        )
        for name, value in report['metrics'].items()
    }
    run = report.get('run') or {}
    evaluation = dict(
        data=report.get('data'),
        split=(run.get('data') or {}).get('split'),
        pictures=report.get('pictures'),
        profile=report.get('profile'),
        headlines=report.get('headlines'),
    )
    return plain(dict(metrics=metrics, evaluation=evaluation))  # type: ignore[no-any-return]


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f'--results {path}: cannot be read ({error}).') from error
    if not isinstance(report, dict) or not isinstance(report.get('metrics'), dict):
        raise ConfigError(
            f'--results {path} holds no `metrics`. Give results_val.json of a run, or what '
            '`python tools/test.py CONFIG CHECKPOINT --out FILE.json` wrote.'
        )
    return report


def _of_another(report: Mapping[str, Any], source: str, iteration: Any) -> str:
    """Why the numbers are not those of the checkpoint; '' if nothing speaks against it."""
    tested = report.get('checkpoint')
    if tested:
        if Path(tested).name == Path(source).name:
            return ''
        return f'it holds the numbers of {tested}.'
    # A test run counts no iterations.
    if report.get('iteration') and iteration and report['iteration'] != iteration:
        return f'its numbers are of iteration {report["iteration"]}, the checkpoint of {iteration}.'
    return ''
