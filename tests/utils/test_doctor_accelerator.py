import pytest
from doctor_machine import Fake, found, gpu

from mmdense.utils import doctor
from mmdense.utils.doctor import PROBLEM, WARNING
from mmdense.utils.doctor.accelerator import covered

ARCHS = ['sm_75', 'sm_80', 'sm_86', 'sm_90', 'sm_100']


@pytest.mark.parametrize(
    ('capability', 'archs', 'runs'),
    [
        ((8, 0), ARCHS, True),
        ((8, 9), ARCHS, True),  # code for 8.6
        ((7, 0), ARCHS, False),
        ((9, 0), ['sm_86'], False),
        ((10, 3), ARCHS, True),
        ((12, 0), ARCHS, False),
        ((12, 0), [*ARCHS, 'compute_100'], True),
        ((7, 5), ['compute_80'], False),
        ((9, 0), ['sm_90a'], True),
        ((12, 1), ['sm_120a'], False),
        ((12, 1), ['sm_120'], True),
        ((9, 0), [], True),
    ],
)
def test_architectures_that_a_build_covers(capability, archs, runs):
    assert covered(capability, archs) == runs


@pytest.mark.parametrize(
    ('capability', 'mend'),
    [
        ((12, 0), 'pip install --upgrade --force-reinstall torch torchvision (a build for CUDA'),
        ((6, 1), "'torch>=2.4,<2.8'"),
    ],
)
def test_gpu_that_torch_has_no_code_for(capability, mend):
    bad = gpu('Other', capability, 'CUDA error: no kernel image is available')
    machine = Fake(torch=dict(cuda='13.0', gpus=[bad], archs=ARCHS))
    finding, usable = found(machine, 'gpu')
    assert (finding.state, usable) == (PROBLEM, False)
    assert f'sm_{capability[0]}{capability[1]} is not covered' in finding.detail
    assert mend in finding.mend
    assert finding.mend.endswith('export CUDA_VISIBLE_DEVICES=')

    machine = Fake(torch=dict(cuda='13.0', gpus=[gpu(), bad, gpu()], archs=ARCHS))
    finding, usable = found(machine, 'gpu')
    assert (finding.state, usable) == (WARNING, True)
    assert finding.detail.startswith('GPU 1 (Other)')
    assert finding.mend.endswith('export CUDA_VISIBLE_DEVICES=0,2')


def test_gpu_that_is_covered_and_does_not_compute():
    bad = gpu(error='CUDA error: out of memory')
    finding, usable = found(Fake(torch=dict(cuda='13.0', gpus=[bad], archs=ARCHS)), 'gpu')
    assert not usable
    assert 'out of memory' in finding.detail
    assert finding.mend.startswith('`nvidia-smi`')
    # Architectures of AMD go by other names.
    fine = dict(hip='6.4', cuda=None, gpus=[gpu('MI300', (9, 4))], archs=['gfx942'])
    assert 'gpu' not in [row.part for row in doctor.examine(Fake(torch=fine), {}, (3, 11, 0))]


@pytest.mark.parametrize(
    ('driver', 'mend'),
    [(12020, 'it serves CUDA 12.2, or take an older build: pip install'), (11080, 'CUDA 11.8')],
)
def test_driver_older_than_the_build(driver, mend):
    trouble = f'The NVIDIA driver on your system is too old (found version {driver}).'
    finding, usable = found(Fake(torch=dict(cuda='13.0', trouble=trouble)), 'torch')
    assert (finding.state, usable) == (WARNING, True)
    assert mend in finding.mend


@pytest.mark.parametrize(
    ('torch', 'torchvision', 'hint'),
    [
        ('2.13.0+cpu', '0.28.0', 'came from: its build is cpu'),
        ('2.13.0+cpu', '0.28.0+cpu', ''),
        ('2.13.0', '0.28.0', ''),
    ],
)
def test_torchvision_of_another_device_comes_from_the_index_of_torch(torch, torchvision, hint):
    error = 'RuntimeError: operator torchvision::nms does not exist'
    versions = {'torch': torch, 'torchvision': torchvision}
    finding, _ = found(Fake(versions, broken={'import torchvision': error}), 'torchvision')
    assert hint in finding.mend
    assert ('index' in finding.mend) == bool(hint)


def test_torchvision_that_loads_beside_another_torch():
    finding, usable = found(Fake({'torchvision': '0.27.0'}), 'torchvision')
    assert (finding.state, usable) == (WARNING, True)
    assert "'torchvision==0.28.*'" in finding.mend
