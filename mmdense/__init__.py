"""mmdense: every dense map of a picture with one network, on the OpenMMLab stack.

Importing the package is cheap and never fails for want of an optional part: the
registries find their modules when a config first asks for one, and compiled
ops, torchvision and timm are only imported by the part that uses them.
"""

from .version import __version__

__all__ = ['__version__']
