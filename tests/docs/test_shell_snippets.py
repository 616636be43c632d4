"""Commands of the pages: the tool is there, its options parse, the configs that they name exist."""

import argparse
import importlib.util
import re
import sys
from configparser import ConfigParser

import pytest
from packaging.requirements import InvalidRequirement, Requirement
from snippet_utils import ROOT, run_code, shell_commands, snippets

BASH = [s for s in snippets('bash') if not s.not_run]
#: What pip may be told to install although no requirement file names it: this package, torch, and
#: what building the ops of mmcv takes.
NO_REQUIREMENT = ('mmdense', 'torch', 'ninja', 'psutil')
#: Launchers, and what of their arguments comes before the script.
LAUNCHERS = ('torchrun', 'srun')
#: Not of this repository, and without files of it among their arguments.
FOREIGN = (
    'git',
    'cd',
    'source',
    'tensorboard',
    'ruff',
    'mypy',
    'pre-commit',
    'mim',
    'sbatch',
    'pytest',
)


class ParsedError(Exception):
    """Raised in place of what a tool does once its arguments are read."""


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    folder = tmp_path_factory.mktemp('checkout')
    for entry in ROOT.iterdir():
        (folder / entry.name).symlink_to(entry)
    return folder


def load(path):
    spec = importlib.util.spec_from_file_location(f'snippet_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(path, arguments, monkeypatch, capsys):
    """Run a tool up to where its arguments are read."""
    assert path.is_file(), f'{path.relative_to(ROOT)} does not exist'
    original = argparse.ArgumentParser.parse_args

    def read(self, args=None, namespace=None):
        original(self, args, namespace)
        raise ParsedError

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', read)
        patch.setattr(sys, 'argv', [str(path), *arguments])
        patch.setattr(sys, 'path', [str(path.parent), *sys.path])
        with pytest.raises((ParsedError, SystemExit)) as stopped:
            load(path).main()
    if stopped.type is SystemExit:
        output = capsys.readouterr()
        assert stopped.value.code == 0 and '--help' in arguments, output.err


def check_files(arguments):
    """Configs and other files of the repository that a command names."""
    for argument in arguments:
        for name in re.split(r'[=+,]', argument):
            if re.match(r'(configs|projects|tools|requirements)/\S+\.(py|sh|txt)$', name):
                assert (ROOT / name).is_file(), f'{name} does not exist'


def check_pip(arguments):
    """Extras and requirement files exist, and packages are spelt as in the requirement files."""
    setup = ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    lines = [
        line.split('#')[0]
        for path in (ROOT / 'requirements').glob('*.txt')
        for line in path.read_text().splitlines()
    ]
    known = {Requirement(line).name for line in lines if line.strip()}
    if arguments[0] == 'uninstall':
        return  # of whatever is there
    for argument in arguments:
        for extra in re.findall(r'\[([\w,-]+)\]', argument):
            assert set(extra.split(',')) <= set(setup['options.extras_require']), extra
        try:
            name = Requirement(argument).name
        except InvalidRequirement:
            continue
        if '/' not in argument and argument != 'install' and not argument.startswith('-'):
            assert name in {*known, *NO_REQUIREMENT}, f'{name} is in no requirement file'


def check_shell_tool(arguments, monkeypatch, capsys):
    """A script of the repository: what it hands on is read by the tool behind it."""
    script, *rest = arguments
    assert (ROOT / script).is_file(), f'{script} does not exist'
    behind = re.fullmatch(r'tools/(?:dist|slurm)_(train|test)\.sh', script)
    if behind:
        # CONFIG [CHECKPOINT] N of dist_*.sh, PARTITION JOB CONFIG of slurm_*.sh
        if 'slurm' in script:
            rest = rest[2:]
        else:
            number = 1 if behind[1] == 'train' else 2
            assert rest[number].isdigit(), f'{rest[number]} is no number of processes'
            rest = rest[:number] + rest[number + 1 :]
        parse(ROOT / f'tools/{behind[1]}.py', rest, monkeypatch, capsys)


def check(command, monkeypatch, capsys):
    name, *arguments = command
    if name in LAUNCHERS:
        scripts = [i for i, a in enumerate(arguments) if a.endswith('.py')]
        assert scripts, f'{name} runs no script'
        arguments = arguments[scripts[0] :]
        name = 'python'
    check_files(arguments)
    if name == 'python' and arguments[0] == '-c':
        run_code(arguments[1], 'command', {})
    elif name == 'python' and arguments[0] == '-m':
        assert importlib.util.find_spec(arguments[1]), f'no module {arguments[1]}'
    elif name == 'python':
        parse(ROOT / arguments[0], arguments[1:], monkeypatch, capsys)
    elif name == 'bash':
        check_shell_tool(arguments, monkeypatch, capsys)
    elif name == 'pip':
        check_pip(arguments)
    else:
        assert name in FOREIGN, f'no rule for `{name}`: add one, or say above the code why not'


@pytest.mark.parametrize('page', sorted({s.page for s in BASH}))
def test_commands_of_the_page_parse(page, checkout, monkeypatch, capsys):
    for snippet in BASH:
        if snippet.page == page:
            for command in shell_commands(snippet.text, checkout):
                try:
                    check(command, monkeypatch, capsys)
                except AssertionError as error:
                    pytest.fail(f'{snippet.name}: {" ".join(command)}\n{error}')


def test_wrong_commands_are_found(monkeypatch, capsys, checkout):
    wrong = {
        'python tools/train.py configs/no/such.py': 'does not exist',
        'python tools/trian.py CONFIG': 'does not exist',
        'python tools/train.py CONFIG --no-such-option': 'no-such-option',
        'bash tools/dist_train.sh CONFIG': 'index',
        'for x in a b; do frobnicate $x; done': 'no rule',
        "pip install '.[no-extra]'": 'no-extra',
        'pip install no-such-package': 'no requirement file',
    }
    for text, message in wrong.items():
        with pytest.raises((AssertionError, IndexError), match=message):
            for command in shell_commands(text, checkout):
                check(command, monkeypatch, capsys)
