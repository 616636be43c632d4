"""The pictures of the page about conventions; tests/docs runs its snippets."""

import re
from pathlib import Path

import cv2

ROOT = Path(__file__).parents[2]


def test_pictures_of_the_page_are_there_and_small():
    text = (ROOT / 'docs/conventions.md').read_text()
    pictures = re.findall(r'!\[[^]]+\]\((images/[^)]+)\)', text)
    assert len(pictures) == 4
    for name in pictures:
        path = ROOT / 'docs' / name
        assert path.stat().st_size < 200_000
        assert cv2.imread(str(path)).shape[1] > 800
