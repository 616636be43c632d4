"""Process groups, with and without GPUs.

mmengine's own initialisation selects a CUDA device and hands its number to DDP, so it cannot
run on a machine without one. Here the group is made first, which mmengine then keeps.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from mmengine.config import Config

from mmdense.utils.config_check import ConfigError
from mmdense.utils.user_errors import places

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
_DEFAULT_PORT = '29500'  # the default of torch.distributed


def launcher_environment(launcher: str, environ: MutableMapping[str, str]) -> None:
    """Give a process the variables that ``torchrun`` would have given it.

    Args:
        launcher (str): ``'pytorch'``, ``'slurm'`` or ``'mpi'`` (Open MPI's names).
        environ (MutableMapping): The environment; RANK, WORLD_SIZE, LOCAL_RANK,
            MASTER_ADDR and MASTER_PORT are set in it.

    Raises:
        ConfigError: If the launcher is unknown, or did not start this process.
    """
    if launcher == 'slurm':
        _copy(environ, launcher, RANK='SLURM_PROCID', WORLD_SIZE='SLURM_NTASKS')
        environ.setdefault('LOCAL_RANK', environ.get('SLURM_LOCALID', '0'))
        if 'MASTER_ADDR' not in environ:
            nodes = environ.get('SLURM_NODELIST', 'localhost')
            environ['MASTER_ADDR'] = _first_node(nodes)
        environ.setdefault('MASTER_PORT', _DEFAULT_PORT)
    elif launcher == 'mpi':
        _copy(
            environ,
            launcher,
            RANK='OMPI_COMM_WORLD_RANK',
            WORLD_SIZE='OMPI_COMM_WORLD_SIZE',
            LOCAL_RANK='OMPI_COMM_WORLD_LOCAL_RANK',
        )
        environ.setdefault('MASTER_ADDR', '127.0.0.1')
        environ.setdefault('MASTER_PORT', _DEFAULT_PORT)
    elif launcher == 'pytorch':
        if 'RANK' not in environ or 'LOCAL_RANK' not in environ:
            raise ConfigError(
                '--launcher pytorch: RANK and LOCAL_RANK are not set, so this process was not '
                'started by torchrun. Start it with `bash tools/dist_train.sh CONFIG N`, or '
                'leave --launcher out to run one process.'
            )
    else:
        raise ConfigError(f'--launcher {launcher}: choose one of {", ".join(LAUNCHERS)}.')


def _copy(environ: MutableMapping[str, str], launcher: str, **names: str) -> None:
    for target, source in names.items():
        if source not in environ:
            raise ConfigError(
                f'--launcher {launcher}: {source} is not set, so this process was not started '
                f'by {launcher}. Leave --launcher out to run one process.'
            )
        environ[target] = environ[source]


def _first_node(nodes: str) -> str:
    """First host of a Slurm node list such as ``'gpu[03-06]'``."""
    if '[' not in nodes and ',' not in nodes:
        return nodes
    answer = subprocess.run(
        ['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=True
    )
    return answer.stdout.split()[0]


def init_distributed(cfg: Config, launcher: str) -> None:
    """Start the process group a config asks for; nothing for ``'none'``.

    nccl, one process per GPU, where CUDA devices are visible; gloo on the CPU elsewhere.

    Args:
        cfg (Config): Changed in place: ``launcher``, and on the CPU what
            :func:`adapt_to_cpu` changes.
        launcher (str): One of :data:`LAUNCHERS`.

    Raises:
        ConfigError: If the launcher did not start this process, or there are more
            processes on this machine than GPUs.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
    launcher_environment(launcher, os.environ)
    if not torch.cuda.is_available():
        adapt_to_cpu(cfg)
        if not dist.is_initialized():
            dist.init_process_group('gloo')
        return
    local_rank, count = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
    if local_rank >= count:
        raise ConfigError(
            f'Process {local_rank} of this machine finds no GPU of its own: {count} are '
            f'visible. Start at most {count} processes per machine, or hide the GPUs with '
            'CUDA_VISIBLE_DEVICES= to run on the CPU.'
        )
    torch.cuda.set_device(local_rank)
    if not dist.is_initialized():
        backend = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('backend', 'nccl')
        dist.init_process_group(backend)


def leave_distributed() -> None:
    """Wait for the other processes and leave the group; nothing without one.

    A process that exits with the group's threads still running may be aborted, and one
    that leaves early takes the others' store with it.
    """
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def end_process(code: int) -> NoReturn:
    """Exit, as one of several processes without tearing the interpreter down.

    gloo's threads are not always joined by then, and PyTorch aborts with exit code -6 a
    process whose work is done and written.
    """
    if 'RANK' not in os.environ:
        sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def adapt_to_cpu(cfg: Config) -> list[str]:
    """Change what a distributed config cannot do without GPUs.

    Args:
        cfg (Config): Changed in place: the model wrapper gets no device number,
            ``sync_bn`` and SyncBN layers become plain batch normalisation.

    Returns:
        list[str]: What was dropped, for the log.
    """
    cfg.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
        **(cfg.get('model_wrapper_cfg') or {}),
        'device_ids': None,
    }
    dropped = []
    if cfg.get('sync_bn') is not None:
        dropped.append('sync_bn')
        cfg.sync_bn = None
    for path, value in list(places(cfg.get('model', {}), 'model')):
        if isinstance(value, Mapping) and value.get('type') in ('SyncBN', 'MMSyncBN'):
            _set(value, 'BN')
            dropped.append(path)
    if dropped and os.environ.get('RANK', '0') == '0':
        sys.stderr.write(  # the logger does not exist yet
            f'mmdense: synchronised batch normalisation needs GPUs; every process uses its '
            f'own statistics here ({", ".join(dropped)}).\n'
        )
    return dropped


def _set(layer: Any, kind: str) -> None:
    layer['type'] = kind
