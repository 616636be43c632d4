"""Machines that are healthy but for what a test changes."""

import json

from mmdense.utils import doctor

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

    def __init__(
        self,
        versions=None,
        broken=None,
        torch=None,
        writable=True,
        commands=('c++',),
        answers=None,
        shared=8 << 30,
    ):
        self.versions = {**HEALTHY, **(versions or {})}
        self.broken, self.answers, self.shared = broken or {}, answers or {}, shared
        self.torch = dict(version='2.13.0', cuda=None, hip=None, gpus=[], archs=[], trouble='')
        self.torch |= torch or {}
        self.is_writable, self.commands = writable, commands

    def version(self, distribution):
        return self.versions.get(distribution)

    def run(self, code):
        for needle, error in self.broken.items():
            if needle in code:
                return False, error
        for needle, answer in self.answers.items():
            if needle in code:
                return True, answer
        if 'import json, torch' in code:
            return True, json.dumps(self.torch)
        return True, '1.0'

    def requirements(self):
        return ['numpy>=1.26', 'onedl-mmcv>=2.3.6,<3', 'scipy>=1.11', 'mmcv>=2.0.1,<2.2']

    def writable(self, path):
        return self.is_writable

    def command(self, name):
        return name in self.commands

    def size(self, path):
        return self.shared


ORIGINAL = {name: None for name in HEALTHY if name.startswith('onedl-')}
ORIGINAL |= {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmsegmentation': '1.2.2'}


def gpu(name='H200', capability=(9, 0), error=''):
    return dict(name=name, capability=capability, error=error)


def found(machine, part):
    findings = doctor.examine(machine, dict(HOME='/home/me'), (3, 11, 0))
    chosen = [finding for finding in findings if finding.part == part]
    assert chosen, part
    return chosen[0], doctor.usable(findings)
