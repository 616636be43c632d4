"""Fenced code of the pages, and what a shell would run of it."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(
    r'^(?P<comment><!-- not run: (?P<reason>[^\n]+) -->\n\n?)?'
    r'^```(?P<language>[a-z]+)\n(?P<text>.*?)^```$',
    re.M | re.S,
)
#: Every command of a snippet is a function that prints its arguments; nothing is run. There is no
#: PATH, so that a command without such a function is printed as well.
_PRELUDE = r"""
set -euo pipefail
say() { printf '%s\0' "$@"; printf '\n'; }
for name in python pip bash source git cd mim pytest ruff mypy pre-commit torchrun srun sbatch; do
    eval "$name() { say $name \"\$@\"; }"
done
basename() { local name="${1##*/}"; printf '%s' "${name%"${2:-}"}"; }
cat() { printf 'content-of-%s' "$1"; }
.() { say source "$@"; }
PYTHONPATH=
command_not_found_handle() { say "$@"; }
shopt -s extglob
PATH=/nonexistent
"""


@dataclass(frozen=True)
class Snippet:
    """Fenced code.

    Attributes:
        page: Path of the page in the repository.
        line: Where its text begins, from 1.
        language: Word behind the fence.
        text: The code.
        not_run: Why it is not run, from the comment above; None if it is.
    """

    page: str
    line: int
    language: str
    text: str
    not_run: str | None

    @property
    def name(self) -> str:
        return f'{self.page}:{self.line}'

    @property
    def slow(self) -> bool:
        """Whether it builds a model of full size to predict with, or exports one."""
        return bool(re.search(r'\b(DenseInferencer|init_model)\(', self.text))


def run_code(text: str, name: str, scope: dict[str, object]) -> None:
    """Run code; of code that reads what earlier commands leave, only the imports.

    Args:
        text: Python.
        name: For tracebacks.
        scope: Its variables.
    """
    tree = ast.parse(text)
    if re.search(r'[\'"](work_dirs/|published/|CHECKPOINT[\'"])', text):
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(tree, name, 'exec'), scope)


def in_project(snippet: Snippet) -> bool:
    """Whether a snippet of a project's page is part of a file of the project."""
    folder = (ROOT / snippet.page).parent
    if folder.parent.name != 'projects':
        return False
    sources = '\n'.join(path.read_text() for path in folder.rglob('*.py'))
    words = ' '.join(_plain(sources).split())
    return all(' '.join(_plain(part).split()) in words for part in snippet.text.split('\n\n'))


def _plain(text: str) -> str:
    """Without commas and blanks that formatters put in front of brackets, and without comments."""
    return re.sub(r',?\s*([)\]])', r'\1', re.sub(r'([(\[])\s+', r'\1', re.sub(r'#.*', '', text)))


def pages() -> list[Path]:
    """Every page of the documentation, without those that only show another file."""
    found = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *ROOT.glob('docs/**/*.md')]
    found += [
        *ROOT.glob('configs/**/*.md'),
        *ROOT.glob('projects/**/*.md'),
        *ROOT.glob('demo/*.md'),
    ]
    return sorted(p for p in found if not p.read_text().startswith('<!-- page: '))


@functools.cache
def snippets(language: str) -> tuple[Snippet, ...]:
    """All fenced code of a language."""
    found = []
    for page in pages():
        text = page.read_text()
        for match in _FENCE.finditer(text):
            if match['language'] == language:
                line = text.count('\n', 0, match.start('text')) + 1
                name = page.relative_to(ROOT).as_posix()
                found.append(Snippet(name, line, language, match['text'], match['reason']))
    return tuple(found)


def shell_commands(text: str, folder: Path) -> list[list[str]]:
    """Commands that bash would run, with variables, loops, braces and globs expanded.

    Args:
        text: The snippet.
        folder: Where it is run: a stand-in for a checkout, since ``>`` does write.
    """
    done = subprocess.run(
        ['/bin/bash', '-c', f'{_PRELUDE}\n{text}'],
        cwd=folder,
        env={},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ValueError(f'bash cannot read it: {done.stderr}')
    lines = done.stdout.split('\0\n')
    return [line.split('\0') for line in lines if line]
