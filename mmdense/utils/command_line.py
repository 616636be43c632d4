"""The parser of the command-line tools: its help is the tool's own text, examples included.

Only the standard library is needed, so that a tool answers where nothing else is installed.
"""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from .errors import close_names

_CHOICE = re.compile(r"invalid choice: '?(?P<given>[^' ]+)'? \(choose from (?P<known>.+)\)")
_UNKNOWN = 'unrecognized arguments: '


class ToolParser(argparse.ArgumentParser):
    r"""A parser that shows the whole docstring of a tool, and guesses what was meant.

    Args:
        doc (str | None): Docstring of the tool's module: one line on what it does, then, after
            ``::``, indented commands that work as they stand, and whatever else there is to
            say. ``--help`` prints the first line above the options and the rest below them.
        **kwargs: To ``argparse.ArgumentParser``.

    Example:
        >>> parser = ToolParser('Add.\n\n::\n\n    python add.py --left 1\n', prog='add.py')
        >>> _ = parser.add_argument('--left', type=int)
        >>> parser.parse_args(['--left', '2']).left
        2
        >>> parser.examples
        ['python add.py --left 1']
    """

    def __init__(self, doc: str | None, **kwargs: object) -> None:
        title, _, rest = plain(doc or '').partition('\n')
        settings = dict(
            description=title.rstrip(':') + ('' if title.endswith(('.', ')')) else '.'),
            epilog=rest.strip('\n'),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        super().__init__(**{**settings, **kwargs})  # type: ignore[arg-type]
        self.examples = commands(doc or '')

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, what was probably meant, and what a right command looks like."""
        hints = []
        choice = _CHOICE.search(message)
        if choice:
            known = re.findall(r"[^\s',]+", choice['known'])
            hints += close_names(choice['given'], known, 1)
        elif message.startswith(_UNKNOWN):
            known = re.findall(r'--[\w-]+', self.format_usage())
            for word in message.removeprefix(_UNKNOWN).split():
                if word.startswith('-'):
                    hints += close_names(word.split('=')[0], known, 1)
        if hints:
            message += f'. Did you mean {" or ".join(repr(hint) for hint in hints)}?'
        if self.examples:
            message += f'\nFor example: {self.examples[0]}\n`{self.prog} --help` says more.'
        super().error(message)


def plain(doc: str) -> str:
    """Text of a docstring for a terminal: without the marks of reStructuredText."""
    text = re.sub(r'^::$', 'Examples:', doc.strip('\n'), flags=re.MULTILINE)
    return re.sub(r'``(.+?)``', r'\1', text.replace('::\n', ':\n'), flags=re.DOTALL)


def commands(doc: str) -> list[str]:
    r"""The indented commands of a docstring, each in one line.

    Example:
        >>> commands('Title.\n\n::\n\n    # Why.\n    bash a.sh \\\n        2\n\nEnd.')
        ['bash a.sh 2']
    """
    block = re.findall(r'^ {4} *(.+)$', doc, flags=re.MULTILINE)
    joined = re.sub(r'\\\n\s*', '', '\n'.join(block))
    return [line for line in joined.splitlines() if line.startswith(('python ', 'bash '))]
