import json

import pytest

from mmdense.utils import doctor
from mmdense.utils.doctor import OK, OPTIONAL, PROBLEM, WARNING

HEALTHY = {
    'torch': '2.13.0',
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmsegmentation': '1.4.2',
    'opencv-python': '4.10.0',
    'mmdense': '0.1.0',
}


class Fake:
    """A machine that is healthy but for what a test changes."""

    def __init__(self, versions=None, broken=None, torch=None, writable=True, commands=('c++',)):
        self.versions = {**HEALTHY, **(versions or {})}
        self.broken = broken or {}
        self.torch = dict(version='2.13.0', cuda=None, hip=None, gpus=[]) | (torch or {})
        self.is_writable, self.commands = writable, commands

    def version(self, distribution):
        return self.versions.get(distribution)

    def run(self, code):
        for needle, error in self.broken.items():
            if needle in code:
                return False, error
        if 'import json, torch' in code:
            return True, json.dumps(self.torch)
        return True, '1.0'

    def requirements(self):
        return ['numpy>=1.26', 'onedl-mmcv>=2.3.6,<3', 'scipy>=1.11']

    def writable(self, path):
        return self.is_writable

    def command(self, name):
        return name in self.commands


def found(machine, part):
    findings = doctor.examine(machine, dict(HOME='/home/me'), (3, 11, 0))
    chosen = [finding for finding in findings if finding.part == part]
    assert chosen, part
    return chosen[0], doctor.usable(findings)


def test_healthy_machine_is_usable_and_needs_nothing():
    findings = doctor.examine(Fake(), {}, (3, 12, 1))
    assert doctor.usable(findings)
    assert {finding.state for finding in findings} == {OK, OPTIONAL}
    assert doctor.report(findings).endswith('mmdense can be used.')


def test_both_families_at_once():
    finding, usable = found(Fake({'mmcv': '2.1.0'}), 'mmcv')
    assert finding.state == PROBLEM
    assert not usable
    assert finding.mend == 'pip uninstall -y onedl-mmcv mmcv && pip install onedl-mmcv==2.3.6'


def test_families_mixed_across_roles():
    finding, usable = found(Fake({'onedl-mmcv': None, 'mmcv': '2.1.0'}), 'families')
    assert finding.state == WARNING
    assert usable


def test_original_family_alone_is_fine():
    versions = {name: None for name in HEALTHY if name.startswith('onedl-')}
    versions |= {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmsegmentation': '1.2.2'}
    findings = doctor.examine(Fake(versions), {}, (3, 10, 0))
    assert doctor.usable(findings)
    assert 'families' not in [finding.part for finding in findings]


def test_missing_stack():
    finding, usable = found(Fake({'onedl-mmsegmentation': None}), 'mmseg')
    assert (finding.state, usable) == (PROBLEM, False)
    assert "'.[onedl]'" in finding.mend


def test_mmcv_without_ops_is_usable():
    broken = {'mmcv.ops': "ModuleNotFoundError: No module named 'mmcv._ext'"}
    finding, usable = found(Fake(broken=broken), 'mmcv.ops')
    assert (finding.state, usable) == (OPTIONAL, True)
    assert '--no-build-isolation' in finding.mend
    finding, _ = found(Fake(broken=broken, commands=()), 'mmcv.ops')
    assert 'apt install g++' in finding.mend


def test_ops_of_another_torch():
    finding, usable = found(Fake(broken={'mmcv.ops': 'ImportError: undefined symbol'}), 'mmcv.ops')
    assert (finding.state, usable) == (WARNING, True)


def test_torchvision_of_another_build_is_named_for_timm_too():
    error = 'RuntimeError: operator torchvision::nms does not exist'
    machine = Fake(
        {'torchvision': '0.28.0+cu130', 'timm': '1.0.9'},
        broken={'import torchvision': error, 'import timm': error},
    )
    for part in ('torchvision', 'timm'):
        finding, usable = found(machine, part)
        assert (finding.state, usable) == (WARNING, True)
        assert "'torchvision==0.28.*'" in finding.mend


def test_opencv_without_system_libraries():
    broken = {'cv2': 'ImportError: libGL.so.1: cannot open shared object file'}
    finding, usable = found(Fake(broken=broken), 'opencv')
    assert (finding.state, usable) == (PROBLEM, False)
    assert 'apt install libgl1' in finding.mend
    assert 'opencv-python-headless' in finding.mend


def test_two_opencv_distributions():
    finding, _ = found(Fake({'opencv-python-headless': '4.10.0'}), 'opencv')
    assert finding.state == WARNING


@pytest.mark.parametrize(
    ('torch', 'state', 'text'),
    [
        (dict(), OK, 'CPU only'),
        (dict(cuda='13.0', gpus=['H200']), OK, '1 GPU (H200)'),
        (dict(cuda='13.0'), WARNING, 'none is visible'),
        (dict(version='2.3.1'), PROBLEM, 'needs 2.4'),
    ],
)
def test_torch(torch, state, text):
    finding, usable = found(Fake(torch=torch), 'torch')
    assert finding.state == state
    assert text in finding.detail
    assert usable == (state != PROBLEM)


def test_torch_absent_and_broken():
    broken = {'import json, torch': 'ModuleNotFoundError'}
    finding, _ = found(Fake({'torch': None}, broken), 'torch')
    assert finding.mend == 'pip install -r requirements/torch.txt'
    finding, _ = found(Fake(broken=broken), 'torch')
    assert '--force-reinstall' in finding.mend


def test_version_outside_tested_bounds():
    finding, usable = found(Fake({'onedl-mmcv': '2.2.0', 'scipy': '1.17'}), 'versions')
    assert (finding.state, usable) == (WARNING, True)
    assert 'onedl-mmcv 2.2.0' in finding.detail
    assert 'scipy' not in finding.detail
    assert finding.mend == "pip install 'onedl-mmcv<3,>=2.3.6'"


def test_cache_that_cannot_be_written():
    finding, usable = found(Fake(writable=False), 'cache')
    assert (finding.state, usable) == (WARNING, True)
    assert finding.mend.startswith('export MMDENSE_CACHE=')


def test_old_python():
    assert doctor.check_python((3, 9, 1)).state == PROBLEM


def test_report_gives_problems_before_wishes():
    machine = Fake({'onedl-mmengine': None})
    text = doctor.report(doctor.examine(machine, {}, (3, 11, 0)))
    assert text.index('Must be mended:') < text.index('Only if you need it:')
    assert text.endswith('mmdense cannot be used yet.')


def test_this_machine_sees_crashes_and_folders(tmp_path):
    machine = doctor.ThisMachine()
    assert machine.run('print(1 + 1)') == (True, '2')
    assert machine.run('raise ValueError("x")') == (False, 'ValueError: x')
    works, text = machine.run('import os, signal; os.kill(os.getpid(), signal.SIGSEGV)')
    assert not works
    assert 'signal 11' in text
    assert machine.writable(str(tmp_path / 'not' / 'yet' / 'there'))
    assert any(line.startswith('onedl-mmcv>=') for line in machine.requirements())


@pytest.mark.parametrize(
    ('error', 'mend'),
    [
        ("ModuleNotFoundError: No module named 'six'", 'pip install six'),
        ("ModuleNotFoundError: No module named 'mmcv._ext'", 'compile the ops of mmcv (see there)'),
    ],
)
def test_mmdet_that_does_not_load_is_no_obstacle(error, mend):
    machine = Fake({'onedl-mmdetection': '3.5.1'}, broken={'mmdet.models': error})
    finding, usable = found(machine, 'mmdet')
    assert (finding.state, usable) == (WARNING, True)
    assert finding.mend == mend
