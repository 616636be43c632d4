"""Losses on features of a host, in training only; nothing of them is left at inference."""

from .attach import add_regularizers
from .aux_head_regularizer import AuxHeadRegularizer
from .base import AuxiliaryMaps, FeatureRegularizer
from .encoder import TriplaneEncoder
from .field import TriplaneField
from .renderer import TriplaneRenderer
from .tokens_to_map import TokensToMap
from .train_only import drop_train_only, train_only_children
from .triplane_regularizer import TriplaneRegularizer

__all__ = [
    'AuxHeadRegularizer',
    'AuxiliaryMaps',
    'FeatureRegularizer',
    'TokensToMap',
    'TriplaneEncoder',
    'TriplaneField',
    'TriplaneRegularizer',
    'TriplaneRenderer',
    'add_regularizers',
    'drop_train_only',
    'train_only_children',
]
