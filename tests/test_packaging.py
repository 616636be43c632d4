import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from mmdense.apis.model_zoo import read_metafiles

ROOT = Path(__file__).parents[1]


def requirements(name):
    lines = (ROOT / 'requirements' / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def test_every_folder_of_the_package_is_a_package():
    folders = {path.parent for path in (ROOT / 'mmdense').rglob('*.py') if '.mim' not in path.parts}
    missing = [str(folder) for folder in folders if not (folder / '__init__.py').exists()]
    assert not missing


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'requirements').glob('*.txt')), ids=lambda p: p.name
)
def test_every_bound_has_a_reason(path):
    for line in requirements(path.name):
        requirement = Requirement(line.split('#')[0].strip())
        assert '#' in line or path.name == 'torch.txt' or not requirement.specifier, line


def test_no_openmmlab_family_is_a_hard_dependency():
    names = {Requirement(line.split('#')[0]).name for line in requirements('runtime.txt')}
    assert not [name for name in names if 'mm' in name or name == 'torch']


def test_extras_name_files_that_exist():
    config = ConfigParser()
    config.read(ROOT / 'setup.cfg')
    for value in config['options.extras_require'].values():
        for name in value.removeprefix('file:').split(','):
            assert (ROOT / name.strip()).is_file(), name


def test_model_index_names_all_metafiles():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    found = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('configs/*/metafile.yml'))
    assert sorted(index['Import']) == found


@pytest.fixture
def checkout(tmp_path):
    """The files of the checkout that a build reads."""
    copy = tmp_path / 'checkout'
    copy.mkdir()
    for name in ('setup.py', 'setup.cfg', 'pyproject.toml', 'MANIFEST.in', 'model-index.yml'):
        shutil.copy(ROOT / name, copy)
    for name in ('README.md', 'LICENSE', 'NOTICE', 'CHANGELOG.md'):
        shutil.copy(ROOT / name, copy)
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for name in ('mmdense', 'configs', 'tools', 'requirements'):
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    return copy


@pytest.mark.slow
def test_build_carries_configs_and_tools_and_needs_no_torch(checkout, tmp_path):
    # A torch that cannot be imported stands in for a machine without one.
    (tmp_path / 'poison' / 'torch').mkdir(parents=True)
    (tmp_path / 'poison' / 'torch' / '__init__.py').write_text('raise ImportError("no torch")')
    subprocess.run(
        [sys.executable, 'setup.py', '-q', 'build_py', '--build-lib', tmp_path / 'built'],
        cwd=checkout,
        env={**os.environ, 'PYTHONPATH': str(tmp_path / 'poison')},
        check=True,
        capture_output=True,
    )
    mim = tmp_path / 'built' / 'mmdense' / '.mim'
    for folder in ('configs', 'tools'):
        kept = {str(path.relative_to(mim)) for path in (mim / folder).rglob('*.py')}
        wanted = {str(path.relative_to(checkout)) for path in (checkout / folder).rglob('*.py')}
        assert kept == wanted
    assert (mim / 'model-index.yml').is_file()
    assert (mim / 'tools' / 'dist_train.sh').is_file()
    assert not list(mim.rglob('__pycache__'))
    # What `mim search` reads, and how `mim train` finds a config: by its name, below the package.
    files = read_metafiles(mim)
    assert files and all((mim / model['Config']).is_file() for f in files for model in f.models)
    names = [path.name for path in mim.glob('configs/[!_]*/*.py')]
    assert len(names) == len(set(names)) > 300


@pytest.mark.parametrize('page', ['README.md', 'CONTRIBUTING.md', 'docs/getting_started.md'])
def test_pages_name_files_that_exist(page):
    text = (ROOT / page).read_text()
    named = set(re.findall(r'\b(?:tools|requirements)/[\w/.]+\.(?:py|sh|txt)\b', text))
    missing = [name for name in named if not (ROOT / name).is_file()]
    links = re.findall(r'\]\((?!https?:)([^)#]+)\)', text)
    missing += [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert not missing
