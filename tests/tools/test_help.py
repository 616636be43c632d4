"""Every tool's ``--help`` shows commands, and they are commands that the tool understands."""

import argparse
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mmdense.utils.command_line import ToolParser, commands

ROOT = Path(__file__).parents[2]
PYTHON = sorted(path for folder in ('tools', 'demo') for path in (ROOT / folder).rglob('*.py'))
# What is sourced, never run, has no first line that names an interpreter.
SHELL = sorted(path for path in (ROOT / 'tools').rglob('*.sh') if path.read_text().startswith('#!'))


class Understood(Exception):
    """The command line was read; nothing is to be done."""


def main_of(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def require_files(command):
    for config in re.findall(r'configs/[\w./-]+\.py', command):
        assert (ROOT / config).is_file(), f'{config} of `{command}` does not exist'


@pytest.mark.parametrize('path', PYTHON, ids=lambda path: path.stem)
def test_help_shows_commands_that_the_tool_reads(path, capsys, monkeypatch):
    # As for a command: a tool may import what stands beside it.
    monkeypatch.syspath_prepend(path.parent)
    main, name = main_of(path), str(path.relative_to(ROOT))
    monkeypatch.setattr(sys, 'argv', [name, '--help'])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert 'usage:' in text
    examples = [line for line in commands(text) if line.startswith(f'python {name}')]
    assert examples, f'`python {name} --help` shows no command of that tool'

    parse = argparse.ArgumentParser.parse_args

    def read_only(parser, *args, **kwargs):
        parse(parser, *args, **kwargs)
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', read_only)
    for example in examples:
        require_files(example)
        monkeypatch.setattr(sys, 'argv', shlex.split(example, comments=True)[1:])
        with pytest.raises(Understood):
            main()


@pytest.mark.parametrize('path', SHELL, ids=lambda path: path.stem)
def test_help_of_scripts_shows_a_command(path):
    done = subprocess.run(['bash', path, '--help'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, found, example = done.stdout.partition('For example')
    assert found
    assert f'bash {path.relative_to(ROOT)} ' in example
    require_files(example)


def parser():
    made = ToolParser('Draw.\n\n::\n\n    python draw.py --mode fast\n', prog='draw.py')
    made.add_argument('--mode', choices=('fast', 'exact'))
    made.add_argument('--show-dir')
    return made


@pytest.mark.parametrize(
    ('line', 'hint'),
    [
        ('--mode fats', "Did you mean 'fast'?"),
        ('--shwo-dir a', "Did you mean '--show-dir'?"),
        ('--shwodir=a --mode exact', "Did you mean '--show-dir'?"),
        ('picture.png', ''),
    ],
)
def test_mistakes_on_the_command_line_are_answered_by_a_right_command(line, hint, capsys):
    with pytest.raises(SystemExit) as stopped:
        parser().parse_args(line.split())
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert hint in printed
    assert hint or 'Did you mean' not in printed
    assert 'For example: python draw.py --mode fast' in printed


def test_help_is_the_docstring_without_its_marks():
    text = ToolParser('Draw ``x``::\n\n    python draw.py\n\nEnds\nhere.').format_help()
    assert '\nDraw x.\n' in text
    assert text.endswith('    python draw.py\n\nEnds\nhere.\n')
    assert '`' not in text
