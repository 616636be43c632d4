"""Looks at an installation: what is there, what works, and what mends the rest.

Only the standard library is needed, so it runs where nothing else does. Every fact comes
through a :class:`Machine`, and every import is tried in a process of its own: a package that
breaks, or takes the interpreter down with it, is then a row of the table.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

OK, OPTIONAL, WARNING, PROBLEM = 'ok', 'optional', 'warning', 'PROBLEM'
ROOT = Path(__file__).resolve().parents[2]

# Role: the maintained distribution, then the original ones; all own the same import name.
FAMILIES = {
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
}
REQUIRED_ROLES = ('mmengine', 'mmcv', 'mmseg')
OPTIONAL_MODULES = {
    'timm': ('timm', 'timm backbones'),
    'torchvision': ('torchvision', 'deformable sampling without compiled ops'),
    'torchjd': ('torchjd', 'gradient aggregators'),
}
# Compiles the ops of mmcv; without the isolation pip would hide torch from the build.
OPS_COMMAND = (
    "pip install ninja psutil 'setuptools>=80,<81' && pip install --no-build-isolation "
    '--no-cache-dir --no-deps --force-reinstall onedl-mmcv=={version}'
)
OPENCV = ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python')
_TORCH_PROBE = (
    'import json, torch; print(json.dumps(dict(version=torch.__version__, '
    'cuda=torch.version.cuda, hip=torch.version.hip, gpus=[torch.cuda.get_device_name(i) '
    'for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else [])))'
)


@dataclass(frozen=True)
class Finding:
    """One row of the table.

    Args:
        part (str): What was looked at.
        state (str): ``OK``, ``OPTIONAL`` (absent and not needed), ``WARNING`` or
            ``PROBLEM`` (mmdense cannot be used).
        detail (str): What was found.
        mend (str): The command, or action, that mends it; '' if there is nothing to mend.
    """

    part: str
    state: str
    detail: str
    mend: str = ''


class Machine(Protocol):
    """What the checks ask; tests answer with made-up machines."""

    def version(self, distribution: str) -> str | None:
        """Version of an installed distribution, or None."""

    def run(self, code: str) -> tuple[bool, str]:
        """Run Python code in a fresh process: whether it worked, and its last line."""

    def requirements(self) -> Sequence[str]:
        """Requirement lines with the tested bounds."""

    def writable(self, path: str) -> bool:
        """Whether files can be made in a folder, or the folder itself be made."""

    def command(self, name: str) -> bool:
        """Whether a command is on PATH."""


class ThisMachine:
    """The machine and interpreter that the doctor runs on."""

    def version(self, distribution: str) -> str | None:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            return None

    def run(self, code: str) -> tuple[bool, str]:
        environ = dict(os.environ)
        environ['PYTHONPATH'] = os.pathsep.join(
            item for item in (str(ROOT), environ.get('PYTHONPATH', '')) if item
        )
        try:
            done = subprocess.run(
                [sys.executable, '-W', 'ignore', '-c', code],
                capture_output=True,
                text=True,
                timeout=300,
                env=environ,
            )
        except subprocess.TimeoutExpired:
            return False, 'no answer within 300 s'
        if done.returncode < 0:
            return False, f'the interpreter was killed by signal {-done.returncode}'
        text = (done.stdout if done.returncode == 0 else done.stderr).strip()
        return done.returncode == 0, text.splitlines()[-1] if text else ''

    def requirements(self) -> Sequence[str]:
        folder = ROOT / 'requirements'
        if folder.is_dir():
            lines = [
                line.split('#')[0].strip()
                for name in ('runtime', 'onedl', 'onedl-detection', 'openmmlab', 'optional')
                for line in (folder / f'{name}.txt').read_text().splitlines()
            ]
            return [line for line in lines if line]
        try:
            return importlib.metadata.requires('mmdense') or []
        except importlib.metadata.PackageNotFoundError:
            return []

    def writable(self, path: str) -> bool:
        folder = Path(path)
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return folder.is_dir() and os.access(folder, os.W_OK)

    def command(self, name: str) -> bool:
        return shutil.which(name) is not None


def check_python(version: tuple[int, ...]) -> Finding:
    """The interpreter's version."""
    text = '.'.join(map(str, version[:3]))
    if version[:2] < (3, 10):
        return Finding('python', PROBLEM, text, 'install Python 3.10 or newer')
    return Finding('python', OK, text)


def check_torch(machine: Machine) -> Finding:
    """Whether torch loads, and what it computes on."""
    works, text = machine.run(_TORCH_PROBE)
    if not works:
        if machine.version('torch') is None:
            return Finding(
                'torch', PROBLEM, 'not installed', 'pip install -r requirements/torch.txt'
            )
        mend = 'pip install --force-reinstall -r requirements/torch.txt'
        return Finding('torch', PROBLEM, f'does not load: {text}', mend)
    found = json.loads(text)
    version, build = found['version'], found['cuda'] or found['hip']
    if _numbers(version) < (2, 4):
        mend = 'pip install --upgrade -r requirements/torch.txt'
        return Finding('torch', PROBLEM, f'{version}; mmdense needs 2.4 or newer', mend)
    if found['gpus']:
        names = sorted(set(found['gpus']))
        return Finding('torch', OK, f'{version}, {len(found["gpus"])} GPU ({", ".join(names)})')
    if build:
        return Finding(
            'torch',
            WARNING,
            f'{version}, built for GPUs ({build}), but none is visible: runs on the CPU',
            'compare the driver that `nvidia-smi` shows with that version, and look at '
            'CUDA_VISIBLE_DEVICES; on a machine without a GPU nothing needs to be done',
        )
    return Finding('torch', OK, f'{version}, CPU only')


def check_families(machine: Machine) -> list[Finding]:
    """Whether exactly one distribution owns each import name of the OpenMMLab stack."""
    findings = []
    kinds = set()
    for role, names in FAMILIES.items():
        there = [(name, version) for name in names if (version := machine.version(name))]
        kinds |= {name.startswith('onedl-') for name, _ in there}
        text = ', '.join(f'{name} {version}' for name, version in there)
        if len(there) > 1:
            keep = there[0][0]
            mend = (
                f'pip uninstall -y {" ".join(name for name, _ in there)} && '
                f'pip install {keep}=={there[0][1]}'
            )
            findings.append(
                Finding(role, PROBLEM, f'{text}: both own the import name {role}', mend)
            )
        elif there:
            findings.append(_loads(machine, role, text))
        elif role in REQUIRED_ROLES:
            mend = "pip install -e '.[onedl]'"
            findings.append(Finding(role, PROBLEM, 'not installed', mend))
        else:
            mend = "pip install -e '.[onedl-detection]'"
            findings.append(
                Finding(role, OPTIONAL, 'not installed; for parts taken from mmdet', mend)
            )
    if len(kinds) > 1:
        findings.append(
            Finding(
                'families',
                WARNING,
                'distributions of both OpenMMLab families are mixed',
                "keep one: pip uninstall -y the others, then pip install -e '.[onedl]'",
            )
        )
    return findings


def _loads(machine: Machine, role: str, text: str) -> Finding:
    # `import mmdet` alone says nothing: its models need the compiled ops of mmcv.
    module = 'mmdet.models' if role == 'mmdet' else role
    works, error = machine.run(f'import {module}')
    if works:
        return Finding(role, OK, text)
    if role == 'mmdet':
        missing = re.search(r"No module named '(\w+)'", error)
        mend = 'see the message'
        if 'mmcv' in error:
            mend = 'compile the ops of mmcv (see there)'
        elif missing:
            mend = f'pip install {missing.group(1)}'
        return Finding(role, WARNING, f'{text}: {module} does not load: {error}', mend)
    mend = "pip install --force-reinstall -e '.[onedl]'"
    return Finding(role, PROBLEM, f'{text} does not load: {error}', mend)


def check_ops(machine: Machine) -> Finding:
    """The compiled ops of mmcv."""
    works, error = machine.run('import mmcv.ops')
    if works:
        return Finding('mmcv.ops', OK, 'compiled')
    mend = OPS_COMMAND.format(version=machine.version('onedl-mmcv') or '2.3.6')
    if not machine.command('c++') and not machine.command('g++'):
        mend = f'install a C++ compiler (apt install g++), then {mend}'
    if "No module named 'mmcv._ext'" in error or "No module named 'mmcv'" in error:
        return Finding(
            'mmcv.ops', OPTIONAL, 'not compiled; MT-CP and mmdet need them, the rest does not', mend
        )
    return Finding('mmcv.ops', WARNING, f'compiled for another torch? {error}', mend)


def check_opencv(machine: Machine) -> Finding:
    """OpenCV, which mmcv imports."""
    there = [name for name in OPENCV if machine.version(name)]
    works, text = machine.run('import cv2; print(cv2.__version__)')
    if works and len(there) > 1:
        mend = f'pip uninstall -y {" ".join(there)} && pip install {there[0]}'
        return Finding('opencv', WARNING, f'{" and ".join(there)} own the same files', mend)
    if works:
        return Finding('opencv', OK, text)
    if 'libGL' in text or 'libgthread' in text:
        mend = 'apt install libgl1 libglib2.0-0, or: pip uninstall -y opencv-python && '
        mend += 'pip install opencv-python-headless'
        return Finding('opencv', PROBLEM, f'a system library is missing: {text}', mend)
    return Finding('opencv', PROBLEM, text, 'pip install --force-reinstall opencv-python')


def check_optional(machine: Machine, torch_version: str | None) -> list[Finding]:
    """Packages that single parts ask for."""
    findings = []
    for module, (distribution, use) in OPTIONAL_MODULES.items():
        version = machine.version(distribution)
        if version is None:
            mend = f'pip install {matching_requirement(distribution, torch_version)}'
            findings.append(Finding(module, OPTIONAL, f'not installed; for {use}', mend))
            continue
        works, error = machine.run(f'import {module}')
        if works:
            findings.append(Finding(module, OK, version))
            continue
        # A CUDA build of torchvision beside a CPU torch fails here, and timm with it.
        culprit = 'torchvision' if 'torchvision' in error else distribution
        requirement = matching_requirement(culprit, torch_version)
        mend = f'pip install --force-reinstall --no-deps {requirement}'
        findings.append(
            Finding(module, WARNING, f'{version} does not load: {error}; for {use}', mend)
        )
    return findings


def matching_requirement(distribution: str, torch_version: str | None) -> str:
    """The requirement to install: torchvision 0.(n + 15) belongs to torch 2.n."""
    if distribution != 'torchvision' or torch_version is None:
        return distribution
    major, minor = _numbers(torch_version)
    return f"'torchvision==0.{minor + 15}.*'" if major == 2 else distribution


def _numbers(version: str) -> tuple[int, int]:
    found = re.match(r'(\d+)\.(\d+)', version)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


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


def check_caches(machine: Machine, environ: dict[str, str]) -> list[Finding]:
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


def examine(machine: Machine, environ: dict[str, str], python: tuple[int, ...]) -> list[Finding]:
    """All checks, those that start processes side by side."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        torch = pool.submit(check_torch, machine)
        families = pool.submit(check_families, machine)
        ops = pool.submit(check_ops, machine)
        opencv = pool.submit(check_opencv, machine)
        optional = pool.submit(check_optional, machine, machine.version('torch'))
        own = pool.submit(check_mmdense, machine)
        return [
            check_python(python),
            torch.result(),
            *families.result(),
            ops.result(),
            opencv.result(),
            *optional.result(),
            check_bounds(machine),
            *check_caches(machine, environ),
            own.result(),
        ]


def usable(findings: Sequence[Finding]) -> bool:
    """Whether nothing stops mmdense from being used."""
    return all(finding.state != PROBLEM for finding in findings)


def report(findings: Sequence[Finding]) -> str:
    """The table, then the commands that mend, those for problems first."""
    width = max(len(finding.part) for finding in findings)
    lines = [
        f'{finding.part:<{width}}  {finding.state:<8}  {finding.detail}' for finding in findings
    ]
    for state, title in (
        (PROBLEM, 'Must be mended:'),
        (WARNING, 'Should be looked at:'),
        (OPTIONAL, 'Only if you need it:'),
    ):
        chosen = [finding for finding in findings if finding.state == state]
        if chosen:
            lines += ['', title]
            lines += [f'  {finding.part}: {finding.mend}' for finding in chosen]
    verdict = 'mmdense can be used.' if usable(findings) else 'mmdense cannot be used yet.'
    return '\n'.join([*lines, '', verdict])
