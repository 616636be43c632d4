"""Optional packages, tested bounds, folders, and whether mmdense finds its own parts."""

from __future__ import annotations

from collections.abc import Mapping

from .accelerator import check_torchvision, matching_requirement, same_build
from .machine import OK, OPTIONAL, PROBLEM, WARNING, Finding, Machine

# Module: the distributions that own it, and what it is for.
OPTIONAL_MODULES: dict[str, tuple[tuple[str, ...], str]] = {
    'timm': (('timm',), 'timm backbones'),
    'torchvision': (('torchvision',), 'deformable sampling without compiled ops'),
    'torchjd': (('torchjd',), 'gradient aggregators'),
    'onnx': (('onnx',), 'export to ONNX'),
    'onnxscript': (('onnxscript',), 'export to ONNX'),
    'onnxruntime': (('onnxruntime', 'onnxruntime-gpu'), 'running exported models'),
    'safetensors': (('safetensors',), 'weights as .safetensors'),
    'tensorboard': (('tensorboard',), 'curves in TensorBoard'),
    'h5py': (('h5py',), 'converters of NYUD-v2 and NYUv2'),
}
# Batches of the rooms fit into less; of pictures of 480x640, a few workers fill more.
_SHARED_MEMORY = 1 << 30


def check_optional(machine: Machine, torch_version: str | None) -> list[Finding]:
    """Packages that single parts ask for."""
    findings = []
    for module, (names, use) in OPTIONAL_MODULES.items():
        there = [(name, version) for name in names if (version := machine.version(name))]
        if not there:
            mend = f'pip install {matching_requirement(names[0], torch_version)}'
            findings.append(Finding(module, OPTIONAL, f'not installed; for {use}', mend))
        elif len(there) > 1:
            both = ' '.join(name for name, _ in there)
            mend = f'pip uninstall -y {both} && pip install {there[-1][0]}=={there[-1][1]}'
            text = f'{" and ".join(name for name, _ in there)} own the same files'
            findings.append(Finding(module, WARNING, text, mend))
        else:
            findings += _loads(machine, module, *there[0], use, torch_version)
    return findings


def _loads(
    machine: Machine, module: str, name: str, version: str, use: str, torch_version: str | None
) -> list[Finding]:
    works, error = machine.run(f'import {module}')
    if works:
        strange = check_torchvision(machine, torch_version) if module == 'torchvision' else []
        return strange or [Finding(module, OK, version)]
    # A CUDA build of torchvision beside a CPU torch fails here, and timm with it.
    culprit = 'torchvision' if 'torchvision' in error else name
    requirement = matching_requirement(culprit, torch_version)
    mend = f'pip install --force-reinstall --no-deps {requirement}'
    if culprit == 'torchvision':
        mend += same_build(machine, torch_version)
    return [Finding(module, WARNING, f'{version} does not load: {error}; for {use}', mend)]


def check_bounds(machine: Machine) -> Finding:
    """Installed versions against the tested bounds."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return Finding('versions', WARNING, 'not compared', 'pip install packaging')
    outside, commands = [], []
    for line in machine.requirements():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        version = machine.version(requirement.name)
        if version and not requirement.specifier.contains(version, prereleases=True):
            outside.append(f'{requirement.name} {version} (tested: {requirement.specifier})')
            commands.append(f"'{requirement.name}{requirement.specifier}'")
    if outside:
        mend = f'pip install {" ".join(commands)}'
        return Finding('versions', WARNING, 'outside tested bounds: ' + ', '.join(outside), mend)
    return Finding('versions', OK, 'within tested bounds')


def check_caches(machine: Machine, environ: Mapping[str, str]) -> list[Finding]:
    """Folders for compiled wheels and downloaded weights."""
    home = environ.get('HOME', '~')
    findings = []
    for variable, default, use in (
        ('MMDENSE_CACHE', f'{home}/.cache/mmdense', 'compiled wheels'),
        ('TORCH_HOME', f'{home}/.cache/torch', 'downloaded weights'),
    ):
        path = environ.get(variable) or default
        if machine.writable(path):
            findings.append(Finding('cache', OK, f'{path} ({use})'))
        else:
            mend = f'export {variable}=/a/folder/you/may/write'
            findings.append(Finding('cache', WARNING, f'{path} cannot be written ({use})', mend))
    return findings


def check_shared_memory(machine: Machine) -> list[Finding]:
    """Data workers pass pictures through shared memory; a container gives 64 MiB by default."""
    size = machine.size('/dev/shm')
    if size is None or size >= _SHARED_MEMORY:
        return []
    mend = (
        'start the container with --shm-size=8g (or --ipc=host), or train with --cfg-options '
        'train_dataloader.num_workers=0 train_dataloader.persistent_workers=False'
    )
    detail = f'{size / (1 << 20):.0f} MiB in /dev/shm: data workers may die with "Bus error"'
    return [Finding('memory', WARNING, detail, mend)]


def check_mmdense(machine: Machine) -> Finding:
    """Whether the package finds all its own parts."""
    works, error = machine.run(
        'import mmdense.registry as r; [getattr(r, n).import_from_location() '
        "for n in ('MODELS', 'DATASETS', 'TASKS', 'HOOKS')]"
    )
    if not works:
        mend = 'mend the rows above first; then run with the traceback: '
        mend += "python -c 'import mmdense.models'"
        return Finding('mmdense', PROBLEM, f'does not load: {error}', mend)
    version = machine.version('mmdense')
    if version is None:
        mend = "pip install -e '.[onedl]'"
        return Finding('mmdense', WARNING, 'loads from this folder, but is not installed', mend)
    return Finding('mmdense', OK, version)
