"""The values that travel: features through the model, samples around it."""

from .dense_data_sample import DenseDataSample
from .dense_features import DenseFeatures
from .dense_map import DenseMap

__all__ = ['DenseDataSample', 'DenseFeatures', 'DenseMap']
