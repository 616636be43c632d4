"""Pages of the repository in the documentation: a method's README is its page, not a copy.

A page that consists of the comment ``<!-- page: ../../configs/demt/README.md -->`` shows that
file. Links in any page are written as they work in the repository; here those to a file that has
a page lead to the page, and those to other files of the repository offer the file.
"""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

_SHOWN = re.compile(r'\A<!-- page: (\S+) -->')
_FENCE = re.compile(r'^(?:```|~~~).*?^(?:```|~~~)[ \t]*$', re.M | re.S)
_LINK = re.compile(r'(\]\()(?![a-z]+:|#|/)([^)\s#]+)(#[^)\s]*)?(\))')


def shown_file(page: Path) -> Path | None:
    """The file of the repository that a page shows, or None for a page of its own text."""
    match = _SHOWN.match(page.read_text(encoding='utf-8'))
    return (page.parent / match[1]).resolve() if match else None


def find_pages(docs: Path) -> dict[Path, Path]:
    """Page by file: that of each file which a page shows, and each page's own."""
    pages = {}
    for page in sorted(docs.rglob('*.md')):
        pages[page.resolve()] = page.resolve()
        shown = shown_file(page)
        if shown:
            pages[shown] = page.resolve()
    return pages


def translate_links(text: str, file: Path, page: Path, pages: dict[Path, Path]) -> str:
    """The text of a file with its relative links as they are from the page that shows it.

    Args:
        text: Markdown. Links inside fenced code are left alone.
        file: Where the links start from in the repository.
        page: Where they start from in the documentation.
        pages: Page by file, from `find_pages`.
    """

    def lead(match: re.Match[str]) -> str:
        target = (file.parent / match[2]).resolve()
        if target.is_dir():
            target = target / 'README.md'
        path = os.path.relpath(pages.get(target, target), page.parent)
        return f'{match[1]}{Path(path).as_posix()}{match[3] or ""}{match[4]}'

    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_LINK.sub(lead, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return ''.join([*parts, _LINK.sub(lead, text[end:])])


def read_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace the source of a page by the file that it shows, and translate its links."""
    page = Path(app.env.doc2path(docname)).resolve()
    file = shown_file(page)
    if file:
        app.env.note_dependency(str(file))
        source[0] = file.read_text(encoding='utf-8')
    source[0] = translate_links(source[0], file or page, page, find_pages(Path(app.srcdir)))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect('source-read', read_page)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
