"""Settings of the documentation: ``python -m sphinx -W -b html docs build/docs``."""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS / '_ext')]
# Pages are built where no display is, and one thread is enough for importing.
os.environ.setdefault('MPLBACKEND', 'Agg')

from mmdense.version import __version__  # noqa: E402  (the path comes first)

project = 'mmdense'
author = 'the mmdense contributors'
copyright = author
release = version = __version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'repository_pages',
]
source_suffix = {'.md': 'markdown'}
exclude_patterns = ['_ext']
# `## Two words` can be linked as `#two-words`, as on code hosting sites.
myst_heading_anchors = 4

html_theme = 'furo'
html_title = f'mmdense {release}'
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

# A package's page shows what its `__all__` names; these are re-exported from its files.
autodoc_default_options = {'members': True, 'imported-members': True, 'show-inheritance': True}
autodoc_class_signature = 'mixed'
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_typehints_format = 'short'
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [('Shape', 'notes')]
