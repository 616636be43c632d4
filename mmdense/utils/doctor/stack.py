"""The OpenMMLab stack: its two families of distributions, the ops of mmcv, OpenCV."""

from __future__ import annotations

import re

from .machine import OK, OPTIONAL, PROBLEM, WARNING, Finding, Machine, bounded

# Role: the maintained distribution, then the original ones; all own the same import name.
FAMILIES = {
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
}
REQUIRED_ROLES = ('mmengine', 'mmcv', 'mmseg')
OPENCV = ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python')
# Compiles the ops of mmcv; without the isolation pip would hide torch from the build.
_OPS_COMMAND = (
    "pip install ninja psutil 'setuptools>=80,<81' && pip install --no-build-isolation "
    '--no-cache-dir --no-deps --force-reinstall --no-binary {name} {name}=={version}'
)
_INSTALL = "pip install -e '.[onedl]'"
# Modules whose distribution is called otherwise, or that newer releases of it lack.
_BROUGHT_BY = {
    'pkg_resources': "'setuptools<81'",
    'cv2': 'opencv-python',
    'yaml': 'pyyaml',
    'PIL': 'pillow',
}


def _is_maintained(name: str) -> bool:
    return name.startswith('onedl-')


def check_families(machine: Machine) -> list[Finding]:
    """Whether exactly one distribution owns each import name of the OpenMMLab stack."""
    there = {
        role: [(name, version) for name in names if (version := machine.version(name))]
        for role, names in FAMILIES.items()
    }
    kept = _kept_family(there)
    findings = []
    for role, owners in there.items():
        if len(owners) > 1:
            findings.append(_doubled(role, owners, kept))
        elif owners:
            findings.append(_loads(machine, role, *owners[0]))
        elif role in REQUIRED_ROLES:
            findings.append(Finding(role, PROBLEM, 'not installed', _INSTALL))
        else:
            mend = "pip install -e '.[onedl-detection]'"
            findings.append(
                Finding(role, OPTIONAL, 'not installed; for parts taken from mmdet', mend)
            )
    strangers = {
        role: [name for name, _ in owners]
        for role, owners in there.items()
        if owners and all(_is_maintained(name) != kept for name, _ in owners)
    }
    if strangers:
        findings.append(_mixed(machine, strangers, kept))
    return findings


def _kept_family(there: dict[str, list[tuple[str, str]]]) -> bool:
    """Whether the maintained family holds at least as many roles as the original one."""
    held = [{_is_maintained(name) for name, _ in owners} for owners in there.values()]
    return sum(True in families for families in held) >= sum(False in f for f in held)


def _doubled(role: str, owners: list[tuple[str, str]], kept: bool) -> Finding:
    # Removing one also removes files of the other, so what is kept is installed anew.
    name, version = next((o for o in owners if _is_maintained(o[0]) == kept), owners[0])
    text = ', '.join(f'{name} {version}' for name, version in owners)
    mend = (
        f'pip uninstall -y {" ".join(name for name, _ in owners)} && '
        f'pip install --no-deps {name}=={version}'
    )
    return Finding(role, PROBLEM, f'{text}: both own the import name {role}', mend)


def _mixed(machine: Machine, strangers: dict[str, list[str]], kept: bool) -> Finding:
    """Parts of one family beside parts of the other: they were not tested together."""
    wanted = [bounded(machine, FAMILIES[role][0 if kept else 1]) for role in strangers]
    names = [name for owners in strangers.values() for name in owners]
    return Finding(
        'families',
        WARNING,
        f'distributions of both OpenMMLab families are mixed: {", ".join(names)} '
        f'{"are" if len(names) > 1 else "is"} not of the {"onedl" if kept else "original"} family',
        f'pip uninstall -y {" ".join(names)} && pip install {" ".join(wanted)}',
    )


def _loads(machine: Machine, role: str, name: str, version: str) -> Finding:
    # `import mmdet` alone says nothing: its models need the compiled ops of mmcv.
    module = 'mmdet.models' if role == 'mmdet' else role
    works, error = machine.run(f'import {module}')
    text = f'{name} {version}'
    if works:
        return Finding(role, OK, text)
    missing = re.search(r"No module named '(\w+)", error)
    clash = re.search(r'(MMCV|MMEngine)==\S+ is used but incompatible', error)
    if 'mmcv._ext' in error or (role == 'mmdet' and 'mmcv' in error and not clash):
        mend = 'compile the ops of mmcv (see there)'
    elif clash:
        # Of the same family as the part that complains.
        base = clash[1].lower()
        mend = f'pip install {bounded(machine, f"onedl-{base}" if _is_maintained(name) else base)}'
    elif missing and missing[1] not in FAMILIES:
        mend = f'pip install {_BROUGHT_BY.get(missing[1], missing[1])}'
    else:
        # What another family left behind when it was removed, or half an installation.
        mend = f'pip install --force-reinstall --no-deps {name}=={version}'
    state = WARNING if role == 'mmdet' else PROBLEM
    return Finding(role, state, f'{text}: {module} does not load: {error}', mend)


def check_ops(machine: Machine) -> Finding:
    """The compiled ops of mmcv, and whether they hold code for the GPU that torch sees."""
    works, text = machine.run(
        'import torch, mmcv.ops as ops; print(ops.get_compiling_cuda_version() '
        "if torch.version.cuda and torch.cuda.is_available() else 'not asked')"
    )
    mend = ops_command(machine)
    if works and text == 'not available':
        return Finding('mmcv.ops', WARNING, 'compiled for the CPU alone; torch sees a GPU', mend)
    if works:
        return Finding('mmcv.ops', OK, 'compiled')
    if "No module named 'mmcv._ext'" in text or "No module named 'mmcv" in text:
        return Finding(
            'mmcv.ops',
            OPTIONAL,
            'not compiled; Mask2Former (of MT-CP) and mmdet need them, the rest does not',
            mend,
        )
    return Finding('mmcv.ops', WARNING, f'compiled for another torch? {text}', mend)


def ops_command(machine: Machine) -> str:
    """Compile the mmcv that is there, whichever family it belongs to."""
    there = [(name, version) for name in FAMILIES['mmcv'] if (version := machine.version(name))]
    name, version = there[0] if there else ('onedl-mmcv', '2.3.6')
    mend = ''
    if not machine.command('c++') and not machine.command('g++'):
        mend = 'install a C++ compiler (apt install g++), then '
    if name == 'mmcv-lite':  # the same release without the sources of the ops
        mend += 'pip uninstall -y mmcv-lite && '
        name = 'mmcv'
    return mend + _OPS_COMMAND.format(name=name, version=version)


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
