"""The values that travel: features through the model, samples around it."""

from .dense_data_sample import DenseDataSample
from .dense_features import DenseFeatures

__all__ = ['DenseDataSample', 'DenseFeatures']
