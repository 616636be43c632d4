"""Python of the pages: sessions print what they say, settings pass the check of configs."""

import doctest
import re
from types import ModuleType

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from snippet_utils import ROOT, snippets

from mmdense.utils.config_check import check_config

PYTHON = [s for s in snippets('python') if not s.not_run]
SESSIONS = sorted({s.page for s in PYTHON if '>>>' in s.text})
CODE = [s for s in PYTHON if '>>>' not in s.text]
#: What the settings of a snippet are added to.
BASE = 'configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128_3task.py'
#: Where a config of a snippet may lie: paths in `_base_` are relative to it.
FOLDERS = ('configs/polymax', 'configs/_base_/datasets', 'projects/example_new_task/configs')


def marked(items, slow):
    return [
        pytest.param(x, id=getattr(x, 'name', x), marks=[pytest.mark.slow] if slow(x) else [])
        for x in items
    ]


def has_slow_session(page):
    return any(s.slow for s in PYTHON if s.page == page and '>>>' in s.text)


@pytest.mark.parametrize('page', marked(SESSIONS, has_slow_session))
def test_sessions_print_what_the_page_says(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = '\n'.join(s.text for s in PYTHON if s.page == page and '>>>' in s.text)
    test = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=failures.append)
    assert test.examples and not failures, ''.join(failures)


def read_config(text):
    """A snippet as a config, with the files of `_base_` from a folder that has them."""
    names = re.search(r'^_base_ = (.*?[\]\'"])$', text, re.M | re.S)
    if names:
        bases = re.findall(r"'([^']+)'", names[1])
        folders = [f for f in FOLDERS if all((ROOT / f / base).is_file() for base in bases)]
        assert folders, f'no folder of {FOLDERS} has all of {bases}'
        paths = [str((ROOT / folders[0] / base).resolve()) for base in bases]
        text = text.replace(names[0], f'_base_ = {paths}')
    return Config.fromstring(text, '.py')


def with_settings(scope):
    """A config that trains, with the variables of a snippet in it."""
    given = {
        key: value
        for key, value in scope.items()
        if key != 'tasks' and not key.startswith('_') and not isinstance(value, type | ModuleType)
    }
    config = Config.fromfile(ROOT / BASE)
    config.merge_from_dict(given)
    return config


@pytest.mark.parametrize('snippet', marked(CODE, lambda s: s.slow))
def test_code_runs_and_settings_are_right(snippet, tmp_path, monkeypatch):
    init_default_scope('mmdense')
    if '_base_ = ' in snippet.text:
        config = read_config(snippet.text)
    else:
        monkeypatch.chdir(tmp_path)
        for entry in ROOT.iterdir():
            if entry.name != 'work_dirs':
                (tmp_path / entry.name).symlink_to(entry)
        tasks = Config.fromfile(ROOT / BASE).tasks
        scope = {'__name__': snippet.name, 'tasks': tasks, '_base_': ConfigDict(tasks=tasks)}
        exec(compile(snippet.text, snippet.name, 'exec'), scope)
        if 'import ' in snippet.text:
            return  # a script: that it runs is the test
        config = with_settings(scope)
    config.setdefault('default_scope', 'mmdense')
    assert not check_config(config)


def test_wrong_settings_are_found():
    init_default_scope('mmdense')
    scope = {}
    exec("model = dict(balancer=dict(type='UncertaintyWeigths'))", scope)
    assert 'UncertaintyWeights' in str(check_config(with_settings(scope))[0])
    with pytest.raises(AssertionError, match='no folder'):
        read_config("_base_ = ['./no_such_file.py']\n")
