import pytest
from doctor_machine import ORIGINAL, Fake, found, gpu

from mmdense.utils import doctor
from mmdense.utils.doctor import OK, OPTIONAL, PROBLEM, WARNING
from mmdense.utils.doctor.extras import check_shared_memory


def test_healthy_machine_is_usable_and_needs_nothing():
    findings = doctor.examine(Fake(), {}, (3, 12, 1))
    assert doctor.usable(findings)
    assert {finding.state for finding in findings} == {OK, OPTIONAL}
    assert doctor.report(findings).endswith('mmdense can be used.')


def test_both_families_at_once():
    finding, usable = found(Fake({'mmcv': '2.1.0'}), 'mmcv')
    assert finding.state == PROBLEM
    assert not usable
    assert finding.mend == (
        'pip uninstall -y onedl-mmcv mmcv && pip install --no-deps onedl-mmcv==2.3.6'
    )


def test_both_families_whole_are_mended_role_by_role():
    versions = {name: version for name, version in ORIGINAL.items() if version}
    findings = doctor.examine(Fake(versions), {}, (3, 11, 0))
    rows = {finding.part: finding for finding in findings if finding.state == PROBLEM}
    assert set(rows) == {'mmengine', 'mmcv', 'mmseg'}
    for row in rows.values():
        assert row.mend.count('onedl-') == 2, 'removed with the other one, and installed anew'
    assert 'families' not in [finding.part for finding in findings]


def test_family_of_most_parts_is_kept():
    finding, _ = found(Fake({**ORIGINAL, 'onedl-mmcv': '2.3.6'}), 'mmcv')
    assert finding.mend.endswith('pip install --no-deps mmcv==2.1.0')


@pytest.mark.parametrize(
    ('versions', 'mend'),
    [
        (
            {'onedl-mmcv': None, 'mmcv': '2.1.0'},
            "pip uninstall -y mmcv && pip install 'onedl-mmcv>=2.3.6,<3'",
        ),
        (
            {**ORIGINAL, 'mmcv': None, 'onedl-mmcv': '2.3.6'},
            "pip uninstall -y onedl-mmcv && pip install 'mmcv>=2.0.1,<2.2'",
        ),
    ],
)
def test_families_mixed_across_roles(versions, mend):
    finding, usable = found(Fake(versions), 'families')
    assert (finding.state, usable) == (WARNING, True)
    assert finding.mend == mend


@pytest.mark.parametrize(
    ('versions', 'error', 'mend'),
    [
        ({}, "No module named 'pkg_resources'", "pip install 'setuptools<81'"),
        ({}, "No module named 'addict'", 'pip install addict'),
        # What is left when the other family, which owned the same files, was uninstalled.
        (
            {},
            "No module named 'mmseg'",
            'pip install --force-reinstall --no-deps onedl-mmsegmentation==1.4.2',
        ),
        (
            ORIGINAL,
            'AssertionError: MMCV==2.2.0 is used but incompatible. Please install mmcv>=2.0.0rc4.',
            "pip install 'mmcv>=2.0.1,<2.2'",
        ),
    ],
)
def test_stack_that_does_not_load(versions, error, mend):
    finding, usable = found(Fake(versions, broken={'import mmseg': error}), 'mmseg')
    assert (finding.state, usable) == (PROBLEM, False)
    assert finding.mend == mend


def test_original_family_alone_is_fine():
    findings = doctor.examine(Fake(ORIGINAL), {}, (3, 10, 0))
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


@pytest.mark.parametrize(
    ('versions', 'part'),
    [
        ({}, '--no-binary onedl-mmcv onedl-mmcv==2.3.6'),
        (ORIGINAL, '--no-binary mmcv mmcv==2.1.0'),
        (
            {**ORIGINAL, 'mmcv': None, 'mmcv-lite': '2.1.0'},
            'pip uninstall -y mmcv-lite && pip install ninja',
        ),
    ],
)
def test_ops_are_compiled_for_the_family_that_is_there(versions, part):
    broken = {'mmcv.ops': "ModuleNotFoundError: No module named 'mmcv._ext'"}
    finding, _ = found(Fake(versions, broken=broken), 'mmcv.ops')
    assert part in finding.mend
    assert ('onedl' in finding.mend) == (not versions)


def test_ops_without_code_for_the_gpu():
    finding, usable = found(Fake(answers={'mmcv.ops': 'not available'}), 'mmcv.ops')
    assert (finding.state, usable) == (WARNING, True)
    assert 'CPU alone' in finding.detail
    assert '--no-build-isolation' in finding.mend


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


def test_optional_packages():
    assert found(Fake(), 'onnxscript')[0].mend == 'pip install onnxscript'
    finding, usable = found(
        Fake({'onnxruntime': '1.31.0', 'onnxruntime-gpu': '1.31.0'}), 'onnxruntime'
    )
    assert (finding.state, usable) == (WARNING, True)
    assert finding.mend == (
        'pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu==1.31.0'
    )
    assert found(Fake({'onnxruntime-gpu': '1.31.0'}), 'onnxruntime')[0].state == OK
    broken = {'import onnxruntime': 'ImportError: numpy.core.multiarray failed to import'}
    finding, _ = found(Fake({'onnxruntime': '1.15.0'}, broken), 'onnxruntime')
    assert finding.mend == 'pip install --force-reinstall --no-deps onnxruntime'


def test_small_shared_memory_of_a_container():
    finding, usable = found(Fake(shared=64 << 20), 'memory')
    assert (finding.state, usable) == (WARNING, True)
    assert finding.detail.startswith('64 MiB')
    assert '--shm-size=8g' in finding.mend
    assert not check_shared_memory(Fake(shared=None))


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
        (dict(cuda='13.0', gpus=[gpu()], archs=['sm_90']), OK, '1 GPU (H200)'),
        (dict(cuda='13.0', trouble='Found no NVIDIA driver'), WARNING, 'no NVIDIA driver'),
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
    assert machine.size(str(tmp_path)) > 0
    assert machine.size(str(tmp_path / 'none')) is None


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
