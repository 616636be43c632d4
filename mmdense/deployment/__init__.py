"""Networks that leave Python: ``torch.export`` programs and ONNX graphs that describe themselves.

>>> from mmdense.deployment import ExportSettings, ExportedModel, save
"""

from .exporting import ExportError, ExportSettings, save, to_onnx, to_program
from .loading import ExportedModel
from .metadata import describe_model, describe_task, read_record
from .parity import Parity, compare
from .wrapper import DeployedModel, size_rule

__all__ = [
    'DeployedModel',
    'ExportError',
    'ExportSettings',
    'ExportedModel',
    'Parity',
    'compare',
    'describe_model',
    'describe_task',
    'read_record',
    'save',
    'size_rule',
    'to_onnx',
    'to_program',
]
