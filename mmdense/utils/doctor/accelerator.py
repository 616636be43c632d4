"""torch, the GPUs that it can and cannot compute on, and the torchvision that belongs to it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from .machine import OK, PROBLEM, WARNING, Finding, Machine, numbers

# Computes on each GPU: a build without code for one lists it all the same.
_PROBE = """import json, torch
gpus, trouble = [], ''
if torch.cuda.is_available():
    for i in range(torch.cuda.device_count()):
        error = ''
        try:
            torch.ones(1, device=f'cuda:{i}').add(1).item()
        except RuntimeError as failure:
            error = str(failure).splitlines()[0]
        gpus.append(dict(name=torch.cuda.get_device_name(i), error=error,
                         capability=torch.cuda.get_device_capability(i)))
elif torch.version.cuda or torch.version.hip:
    try:
        torch.cuda.init()
    except Exception as failure:
        trouble = str(failure).splitlines()[0]
print(json.dumps(dict(version=torch.__version__, cuda=torch.version.cuda, hip=torch.version.hip,
                      gpus=gpus, archs=torch.cuda.get_arch_list(), trouble=trouble)))
"""
# The default builds of these releases hold code for GPUs from sm_50 on, and run with drivers for
# CUDA 12; later ones begin with sm_70 or sm_75.
_OLDER_BUILD = "pip install --force-reinstall 'torch>=2.4,<2.8' 'torchvision<0.23'"
# First CUDA release that compiles for an architecture, the newest architectures first.
_FIRST_CUDA = (
    ((12, 1), '12.9'),
    ((12, 0), '12.8'),
    ((10, 3), '12.9'),
    ((10, 0), '12.8'),
    ((9, 0), '11.8'),
)


def check_torch(machine: Machine) -> list[Finding]:
    """Whether torch loads, what it was built for, and whether each GPU computes."""
    works, text = machine.run(_PROBE)
    if not works:
        if machine.version('torch') is None:
            mend = 'pip install -r requirements/torch.txt'
            return [Finding('torch', PROBLEM, 'not installed', mend)]
        mend = 'pip install --force-reinstall -r requirements/torch.txt'
        return [Finding('torch', PROBLEM, f'does not load: {text}', mend)]
    found = json.loads(text)
    version, build = found['version'], found['cuda'] or found['hip']
    if numbers(version) < (2, 4):
        mend = 'pip install --upgrade -r requirements/torch.txt'
        return [Finding('torch', PROBLEM, f'{version}; mmdense needs 2.4 or newer', mend)]
    if found['gpus']:
        names = ', '.join(sorted({gpu['name'] for gpu in found['gpus']}))
        row = Finding('torch', OK, f'{version}, {len(found["gpus"])} GPU ({names})')
        return [row, *_check_gpus(found)]
    if build:
        return [_no_gpu(version, build, found.get('trouble', ''))]
    return [Finding('torch', OK, f'{version}, CPU only')]


def _no_gpu(version: str, build: str, trouble: str) -> Finding:
    detail = f'{version}, built for GPUs ({build}), but none is visible: runs on the CPU'
    if trouble:
        detail += f' ({trouble})'
    driver = re.search(r'too old \(found version (\d+)\)', trouble)
    if driver:
        serves = int(driver.group(1)) // 1000
        mend = f'update the driver; it serves CUDA {serves}.{int(driver.group(1)) % 1000 // 10}'
        if serves == 12:
            mend += f', or take an older build: {_OLDER_BUILD}'
        return Finding('torch', WARNING, detail, mend)
    mend = (
        'compare the driver that `nvidia-smi` shows with that version, and look at '
        'CUDA_VISIBLE_DEVICES; on a machine without a GPU nothing needs to be done'
    )
    return Finding('torch', WARNING, detail, mend)


def _check_gpus(found: dict[str, Any]) -> list[Finding]:
    """A row for every GPU that does not compute."""
    bad = [(i, gpu) for i, gpu in enumerate(found['gpus']) if _reason(gpu, found)]
    good = [str(i) for i in range(len(found['gpus'])) if i not in dict(bad)]
    findings = []
    for index, gpu in bad:
        capability = tuple(gpu['capability'])
        detail = f'GPU {index} ({gpu["name"]}): {_reason(gpu, found)}'
        mend = '`nvidia-smi` shows what else uses it, and whether its driver works'
        if not found['hip'] and not covered(capability, found['archs']):
            mend = _other_build(capability, found['archs'])
        if good:
            mend += f'; the others can be used: export CUDA_VISIBLE_DEVICES={",".join(good)}'
        else:
            mend += '; until then, on the CPU: export CUDA_VISIBLE_DEVICES='
        findings.append(Finding('gpu', WARNING if good else PROBLEM, detail, mend))
    return findings


def _reason(gpu: dict[str, Any], found: dict[str, Any]) -> str:
    capability = tuple(gpu['capability'])
    if not found['hip'] and not covered(capability, found['archs']):
        return (
            f'architecture sm_{capability[0]}{capability[1]} is not covered by this torch '
            f'({found["version"]}, CUDA {found["cuda"]}: {" ".join(found["archs"])})'
        )
    return f'does not compute: {gpu["error"]}' if gpu['error'] else ''


def covered(capability: tuple[int, ...], archs: Sequence[str]) -> bool:
    """Whether a build holds code that runs on a GPU.

    Machine code (``sm_86``) runs on GPUs of the same major number with at least that minor one;
    with a letter (``sm_90a``) on exactly that architecture; intermediate code (``compute_90``)
    is compiled for any newer GPU when it is loaded.

    Args:
        capability (tuple[int, int]): Compute capability of the GPU, such as ``(8, 6)``.
        archs (Sequence[str]): What ``torch.cuda.get_arch_list`` says. Empty: nothing is known,
            and the GPU counts as covered.
    """
    for arch in archs:
        match = re.fullmatch(r'(sm|compute)_(\d+)(\d)([a-z]?)', arch)
        if match is None:
            continue
        built = (int(match[2]), int(match[3]))
        if match[4]:
            fits = built == capability
        elif match[1] == 'compute':
            fits = built <= capability
        else:
            fits = built[0] == capability[0] and built[1] <= capability[1]
        if fits:
            return True
    return not archs


def _other_build(capability: tuple[int, ...], archs: Sequence[str]) -> str:
    known = [(int(m[1]), int(m[2])) for a in archs if (m := re.match(r'\w+_(\d+)(\d)', a))]
    if known and capability < min(known):
        return f'{_OLDER_BUILD} (or a later release built for CUDA 12.6)'
    first = next((cuda for arch, cuda in _FIRST_CUDA if capability >= arch), '')
    needs = f' (a build for CUDA {first} or newer)' if first else ''
    return f'pip install --upgrade --force-reinstall torch torchvision{needs}'


def check_torchvision(machine: Machine, torch_version: str | None) -> list[Finding]:
    """A torchvision that loads may still be one of another torch."""
    version = machine.version('torchvision')
    if version is None or torch_version is None or numbers(torch_version)[0] != 2:
        return []
    wanted = (0, numbers(torch_version)[1] + 15)
    if numbers(version) == wanted:
        return []
    mend = f'pip install --no-deps {matching_requirement("torchvision", torch_version)}'
    detail = f'{version} belongs to another torch than {torch_version}'
    return [Finding('torchvision', WARNING, detail, mend)]


def same_build(machine: Machine, torch_version: str | None) -> str:
    """What to add to a command where torchvision and torch were built for different devices."""
    local = re.search(r'\+(.+)', torch_version or '')
    other = re.search(r'\+(.+)', machine.version('torchvision') or '')
    if local is None or (other is not None and other[1] == local[1]):
        return ''
    return f' (with the --index-url that torch came from: its build is {local[1]})'


def matching_requirement(distribution: str, torch_version: str | None) -> str:
    """The requirement to install: torchvision 0.(n + 15) belongs to torch 2.n."""
    if distribution != 'torchvision' or torch_version is None:
        return distribution
    major, minor = numbers(torch_version)
    return f"'torchvision==0.{minor + 15}.*'" if major == 2 else distribution
