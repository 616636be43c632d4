import doctest

import pytest

from mmdense.utils import command_line, errors, suggest
from mmdense.utils.errors import close_names

NAMES = ['ConvNeXt', 'ResNet', 'TriplaneRegularizer', 'AuxHeadRegularizer', 'SemSeg']


@pytest.mark.parametrize(
    ('name', 'close'),
    [
        ('convnext', ['ConvNeXt']),
        ('RESNET', ['ResNet']),
        ('Triplane', ['TriplaneRegularizer']),
        ('regularizer', ['AuxHeadRegularizer', 'TriplaneRegularizer']),
        ('aux', []),  # part of too much to mean anything
        ('Swin', []),
    ],
)
def test_close_names(name, close):
    assert close_names(name, NAMES) == close


def test_names_that_differ_in_case_alone_are_both_known():
    assert close_names('adam', ['Adam', 'ADAM'], 2) == ['ADAM', 'Adam']
    assert close_names('adam', ['Adam', 'ADAM'], 1) == ['ADAM']


def test_nothing_is_suggested_for_what_is_nothing_like():
    assert suggest('xyz', ['depth']) == 'Known: depth.'


@pytest.mark.parametrize('module', [errors, command_line])
def test_examples(module):
    assert doctest.testmod(module).failed == 0
