"""From a config file and command-line options to a run.

``tools/train.py`` and ``tools/test.py`` only parse their arguments; what they do is here.
Everything a user can get wrong before the first iteration ends in one paragraph and an exit
code (2: the command or the config is wrong, 1: the run failed), not in a traceback.
"""

from __future__ import annotations

import difflib
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint

from mmdense.utils.checkpoints import is_remote, pretrained_files, require_checkpoint
from mmdense.utils.config_check import ConfigError, require_valid_config
from mmdense.utils.user_errors import SELF_EXPLAINING, describe

from .distributed import init_distributed, leave_distributed
from .log_targets import log_to

# bf16 has the range of fp32, so gradients need no scaling; fp16 does.
_LOSS_SCALE: dict[str, float | str] = {'bfloat16': 1.0, 'float16': 'dynamic'}
# How long a process waits for process 0 to speak before it ends with an error.
_GRACE_SECONDS = 10.0


class BuildError(RuntimeError):
    """A run could not be built; the text explains the error that caused it."""


def load_config(
    path: str, options: Mapping[str, Any] | None = None, check: Collection[str] = ()
) -> Config:
    """Read a config and apply ``--cfg-options``.

    ``data_root=FOLDER`` reaches every data set of the config that lies in the folder of its
    own ``data_root``.

    Args:
        path (str): The file.
        options (Mapping | None): Overrides, by key path.
        check (Collection[str]): Top-level keys that the caller builds, to be checked first.

    Raises:
        ConfigError: If the file, or one it inherits from, is missing or cannot be read, an
            option does not fit, or a checked key holds a name that nothing answers to.
    """
    if not os.path.isfile(path):
        raise ConfigError(f'{path}: no such config file.{_similar_files(path)}')
    try:
        cfg = Config.fromfile(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f'{path}: a file it inherits from is missing: {error}. Paths in `_base_` are '
            'relative to the config that names them.'
        ) from error
    except Exception as error:
        raise ConfigError(
            f'{path} cannot be read: {type(error).__name__}: {error}{_config_line(error)}'
        ) from error
    if options:
        written_root = cfg.get('data_root')
        try:
            cfg.merge_from_dict(dict(options))
            if 'data_root' in options:
                _move_data_root(list(cfg.values()), written_root, options['data_root'])
        except Exception as error:
            raise ConfigError(
                f'--cfg-options {_joined(options)} does not fit {path}: {error}'
            ) from error
    if check:
        require_valid_config(cfg, path, check)
    return cfg


def _move_data_root(node: Any, old: Any, new: Any) -> None:
    """Replace ``data_root=old`` by ``new`` at every depth of a config."""
    if isinstance(node, list | tuple):
        for item in node:
            _move_data_root(item, old, new)
    elif isinstance(node, Mapping):
        if 'data_root' in node and node['data_root'] == old:
            node['data_root'] = new  # type: ignore[index]
        for item in node.values():
            _move_data_root(item, old, new)


def _similar_files(path: str) -> str:
    known = {file.name: str(file) for file in sorted(Path('configs').rglob('*.py'))}
    close = difflib.get_close_matches(os.path.basename(path), known, n=2, cutoff=0.6)
    if close:
        return f' Did you mean {" or ".join(known[name] for name in close)}?'
    folder = os.getcwd()
    return f' It was looked for from {folder}; name it relative to there, or in full.'


def _config_line(error: Exception) -> str:
    """Line of the config (mmengine runs a copy of it under another name)."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [str(frame.lineno) for frame in frames if frame.name == '<module>']
    return f' (line {lines[-1]})' if lines and 'line' not in str(error) else ''


def _joined(options: Mapping[str, Any]) -> str:
    return ' '.join(f'{key}={value}' for key, value in options.items())


def set_work_dir(cfg: Config, path: str, work_dir: str | None) -> None:
    """``--work-dir``, else the config's own, else ``./work_dirs/<config name>``."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(path).stem)


def set_seed(cfg: Config, seed: int | None) -> None:
    """``--seed``; the other settings of ``randomness`` stay."""
    if seed is not None:
        cfg.randomness = dict(cfg.get('randomness', {}), seed=seed)


def enable_amp(cfg: Config, dtype: str = 'bfloat16', cuda: bool | None = None) -> None:
    """``--amp``: turn the optimizer wrapper into ``AmpOptimWrapper``.

    Args:
        cfg (Config): Changed in place.
        dtype (str): ``'bfloat16'`` or ``'float16'``. A wrapper that is
            ``AmpOptimWrapper`` already keeps what it says itself.
        cuda (bool | None): Whether there is a GPU. None: ask torch.

    Raises:
        ConfigError: If there is no GPU, or the optimizer wrapper has no AMP form.
    """
    if cuda is None:
        import torch

        cuda = torch.cuda.is_available()
    if not cuda:
        raise ConfigError(
            "--amp: no GPU is visible, and mmengine's AmpOptimWrapper needs one. Leave --amp "
            'out, or run `python tools/doctor.py` if there should be a GPU.'
        )
    wrapper = cfg.get('optim_wrapper', {})
    kind = str(wrapper.get('type', 'OptimWrapper')).rsplit('.', 1)[-1]
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ConfigError(
            f"--amp: optim_wrapper.type is '{wrapper.type}', which --amp cannot change. Set "
            'mixed precision in the config of that wrapper, if it has any.'
        )
    wrapper['type'] = 'AmpOptimWrapper'
    wrapper.setdefault('dtype', dtype)
    wrapper.setdefault('loss_scale', _LOSS_SCALE[wrapper['dtype']])


def set_resume(cfg: Config, resume: str | None, load_from: str | None) -> None:
    """``--resume [auto|PATH]`` and ``--load-from PATH``.

    Args:
        cfg (Config): Changed in place; ``work_dir`` is set already.
        resume (str | None): ``'auto'``: the latest checkpoint of the work directory, or a
            fresh start if it has none; a path: that checkpoint; None: as the config says.
        load_from (str | None): Checkpoint to take weights from, for a fresh start.

    Raises:
        ConfigError: If both are given, or a checkpoint is missing or damaged.
    """
    if resume is not None and resume != 'auto' and load_from is not None:
        raise ConfigError(
            f'--resume {resume} and --load-from {load_from} both name a checkpoint. --resume '
            'goes on with a run, --load-from starts a new one from its weights: give one.'
        )
    if load_from is not None:
        cfg.load_from = load_from
    if resume == 'auto':
        cfg.resume, cfg.load_from = True, load_from
        latest = find_latest_checkpoint(cfg.work_dir)
        if latest is not None:
            # A run that was started already goes on, whatever it was started from.
            require_checkpoint(latest, f'--resume auto: {cfg.work_dir}/last_checkpoint')
            cfg.load_from = latest
        elif load_from is not None:
            cfg.resume = False
    elif resume is not None:
        cfg.resume, cfg.load_from = True, resume


def require_checkpoints(cfg: Config, training: bool, source: str) -> None:
    """Raise unless every checkpoint that a run reads is there and whole.

    Raises:
        ConfigError: See :func:`~mmdense.utils.checkpoints.require_checkpoint`.
    """
    if cfg.get('load_from'):
        require_checkpoint(cfg.load_from, source)
    if not training:  # testing takes all weights from the checkpoint
        return
    for path, checkpoint in pretrained_files(cfg):
        if is_remote(checkpoint):
            continue
        try:
            require_checkpoint(checkpoint, path)
        except ConfigError as error:
            init_cfg = path.rsplit('.', 1)[0]
            raise ConfigError(
                f'{error} To train without pretrained weights: --cfg-options {init_cfg}=None'
            ) from error


class _StartedHook(Hook):
    """Remembers that iterations have begun: later errors are no set-up mistakes."""

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self.started = False

    def before_train_iter(self, *args: Any, **kwargs: Any) -> None:
        self.started = True

    def before_test_iter(self, *args: Any, **kwargs: Any) -> None:
        self.started = True


def build_runner(cfg: Config) -> Runner:
    """Build what a config describes, with mmengine's runner or its own ``runner_type``.

    Raises:
        BuildError: If a part cannot be built, with the key path where it can be told.
    """
    try:
        return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    except Exception as error:
        raise BuildError(describe(error, cfg)) from error


def run_loop(runner: Runner, loop: Callable[[], Any]) -> Any:
    """Run ``runner.train`` or ``runner.test``; both still build the data and the optimizer.

    Raises:
        BuildError: If it fails before the first iteration.
    """
    began = _StartedHook()
    runner.register_hook(began)
    try:
        return loop()
    except Exception as error:
        if began.started:
            raise
        raise BuildError(describe(error, runner.cfg)) from error


def train(
    config: str,
    *,
    work_dir: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    resume: str | None = None,
    load_from: str | None = None,
    amp: bool = False,
    amp_dtype: str = 'bfloat16',
    seed: int | None = None,
    launcher: str = 'none',
    log_targets: Sequence[str] = (),
) -> Runner:
    """Train a config; the arguments are those of ``tools/train.py``.

    Returns:
        Runner: After training.

    Raises:
        ConfigError: If the config, an option or a checkpoint is wrong.
        BuildError: If a part cannot be built.
    """
    cfg = load_config(config, cfg_options)
    set_work_dir(cfg, config, work_dir)
    set_seed(cfg, seed)
    set_resume(cfg, resume, load_from)
    if amp:
        enable_amp(cfg, amp_dtype)
    log_to(cfg, log_targets)
    require_valid_config(cfg, config)
    named = '--resume' if resume else '--load-from' if load_from else 'load_from'
    require_checkpoints(cfg, training=True, source=named)
    init_distributed(cfg, launcher)
    runner = build_runner(cfg)
    run_loop(runner, runner.train)
    return runner


def guard(run: Callable[[], Any], debug: bool = False) -> int:
    """Run a tool and turn a user's mistake into a message.

    Args:
        run (Callable): The tool.
        debug (bool): Let every error through with its traceback; the environment variable
            ``MMDENSE_DEBUG=1`` does the same.

    Returns:
        int: Exit code: 0, 1 (the run failed), 2 (the command or the config is wrong).
    """
    if debug or os.environ.get('MMDENSE_DEBUG', '') not in ('', '0'):
        run()
        leave_distributed()
        return 0
    try:
        run()
        leave_distributed()
    except SELF_EXPLAINING as error:
        _tell(str(error))
        return 2 if isinstance(error, ConfigError) else 1
    except (BuildError, FloatingPointError) as error:
        _tell(str(error))
        return 1
    return 0


def _tell(message: str) -> None:
    # A worker process sends its traceback along as text; the message is its last part.
    if 'Original Traceback' in message:
        message = message.rstrip().splitlines()[-1].split(': ', 1)[-1]
    rank = int(os.environ.get('RANK', '0'))
    sys.stdout.flush()
    if rank:  # rank 0 says it in full
        message = f'[process {rank}] {message.splitlines()[0][:200]}'
        sys.stderr.write(f'error: {message}\n')
        sys.stderr.flush()
        # A launcher ends all processes with the first that fails. Process 0 may be about to
        # say the same in full; if it does, the launcher ends this wait.
        time.sleep(_GRACE_SECONDS)
        return
    hint = '(The traceback: add --debug, or set MMDENSE_DEBUG=1.)'
    sys.stderr.write(f'\nerror: {message}\n{hint}\n')
