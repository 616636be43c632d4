"""The snippets of the pages about conventions and reports."""

import doctest
import re
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('page', ['conventions', 'comparing_runs'])
def test_snippets_print_what_the_page_says(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / 'docs' / f'{page}.md').read_text()
    blocks = [block for block in re.findall(r'```python\n(.*?)```', text, re.S) if '>>>' in block]
    assert blocks
    test = doctest.DocTestParser().get_doctest('\n'.join(blocks), {}, page, page, 0)
    assert len(test.examples) >= 5
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=failures.append)
    assert not failures, ''.join(failures)


def test_pictures_of_the_page_are_there_and_small():
    text = (ROOT / 'docs/conventions.md').read_text()
    pictures = re.findall(r'!\[[^]]+\]\((images/[^)]+)\)', text)
    assert len(pictures) == 4
    for name in pictures:
        path = ROOT / 'docs' / name
        assert path.stat().st_size < 200_000
        assert cv2.imread(str(path)).shape[1] > 800


def test_tools_that_the_pages_name_exist():
    for page in ('conventions', 'comparing_runs', 'balancing'):
        text = (ROOT / 'docs' / f'{page}.md').read_text()
        for tool in re.findall(r'(tools/[\w/]+\.py)', text):
            assert (ROOT / tool).is_file(), tool
