import io
import os
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine import fileio

from mmdense.datasets.tar_backend import TarArchive, TarShardBackend
from mmdense.utils import DataError

ARGS = dict(backend='tar_shards')
rng = np.random.default_rng(0)


def write_tar(path, members, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, 'w', format=form) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return str(path)


MEMBERS = {
    'rgb/a.png': b'A' * 700,
    'rgb/b.png': b'',
    'rgb/deep/c.png': b'C' * 512,
    'rgb-more/d.png': b'D',
    'rgb0/e.png': b'E',
    './top.txt': b'hello\n',
    'x' * 180 + '/long.npy': b'long',
    'höhe/ü.txt': b'u',
}


@pytest.mark.parametrize('form', [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_are_files_below_the_archive(tmp_path, form):
    path = write_tar(tmp_path / 'a.tar', MEMBERS, form)
    for name, content in MEMBERS.items():
        full = f'{path}/{name}'
        assert fileio.get(full, backend_args=ARGS) == content
        assert fileio.isfile(full, backend_args=ARGS) and fileio.exists(full, backend_args=ARGS)
        assert not fileio.isdir(full, backend_args=ARGS)
    assert fileio.get_text(f'{path}/top.txt', backend_args=ARGS) == 'hello\n'
    for folder in ('', '/rgb', '/rgb/', '/rgb/deep'):
        assert fileio.isdir(path + folder, backend_args=ARGS)
    for absent in ('/rg', '/rgb/a', '/none/x.png', '/rgb/a.png/x'):
        assert not fileio.exists(path + absent, backend_args=ARGS)
        with pytest.raises(FileNotFoundError, match='is not in'):
            fileio.get(path + absent, backend_args=ARGS)


def test_listing_equals_that_of_the_unpacked_folder(tmp_path):
    path = write_tar(tmp_path / 'a.tar', MEMBERS)
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / 'out', filter='data')
    for folder in ('', '/rgb', '/rgb/deep'):
        for options in (
            dict(),
            dict(list_dir=False),
            dict(list_file=False),
            dict(list_dir=False, recursive=True),
            dict(recursive=True),
            dict(list_dir=False, suffix='.png', recursive=True),
        ):
            inside = fileio.list_dir_or_file(path + folder, backend_args=ARGS, **options)
            outside = fileio.list_dir_or_file(f'{tmp_path}/out{folder}', **options)
            assert sorted(inside) == sorted(outside)


def test_paths_without_an_archive_are_local(tmp_path):
    (tmp_path / 'folder.tar').mkdir()
    (tmp_path / 'folder.tar/list.txt').write_text('a')
    backend = TarShardBackend()
    assert backend.get_text(tmp_path / 'folder.tar/list.txt') == 'a'
    assert list(backend.list_dir_or_file(tmp_path / 'folder.tar')) == ['list.txt']
    assert not backend.exists(tmp_path / 'none.tar/x')
    path = write_tar(tmp_path / 'a.tar', MEMBERS)
    with backend.get_local_path(f'{path}/rgb/a.png') as copy:
        assert Path(copy).read_bytes() == MEMBERS['rgb/a.png']
    assert not Path(copy).exists()
    with pytest.raises(OSError, match='archives are only read'):
        backend.put(b'x', f'{path}/new.txt')


def count_walks(monkeypatch):
    walks = []
    walk = TarArchive._walk
    monkeypatch.setattr(TarArchive, '_walk', lambda self: walks.append(1) or walk(self))
    return walks


def stamp(path):
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


def test_the_index_is_kept_and_made_again_when_the_archive_changes(tmp_path, monkeypatch):
    walks = count_walks(monkeypatch)
    path = write_tar(tmp_path / 'a.tar', MEMBERS)
    for _ in range(3):
        assert TarArchive(path, stamp(path)).read('rgb/a.png') == MEMBERS['rgb/a.png']
    assert len(walks) == 1
    index = tmp_path / 'a.tar.index.npy'
    for damage in (b'', b'nonsense', index.read_bytes()[:100]):
        index.write_bytes(damage)
        assert TarArchive(path, stamp(path)).read('rgb/a.png') == MEMBERS['rgb/a.png']
    assert len(walks) == 4
    # A new archive under the old name, through the backend as a data set sees it.
    assert fileio.get(f'{path}/rgb/a.png', backend_args=ARGS) == MEMBERS['rgb/a.png']
    write_tar(path, {'rgb/a.png': b'new'})
    os.utime(path, ns=(1, 1))
    assert fileio.get(f'{path}/rgb/a.png', backend_args=ARGS) == b'new'
    assert not fileio.exists(f'{path}/top.txt', backend_args=ARGS)
    assert len(walks) == 5


def test_a_read_only_folder_only_costs_time(tmp_path, monkeypatch):
    import mmdense.datasets.tar_backend as module

    def refuse(path, data):
        raise PermissionError(13, 'read-only')

    monkeypatch.setattr(module, 'atomic_write_bytes', refuse)
    path = write_tar(tmp_path / 'a.tar', MEMBERS)
    assert TarArchive(path, stamp(path)).read('rgb/deep/c.png') == b'C' * 512
    assert not (tmp_path / 'a.tar.index.npy').exists()


def test_damaged_archives_are_refused_by_name(tmp_path):
    whole = Path(write_tar(tmp_path / 'a.tar', MEMBERS)).read_bytes()
    with tarfile.open(tmp_path / 'zipped.tar', 'w:gz') as archive:
        archive.add(tmp_path / 'a.tar', 'x')
    cases = {
        'cut inside a file': whole[:1500],
        'cut between files': whole[:1536],
        'bad header': whole[:1536] + b'\xff' * 512 + whole[2048:],
        'no tar': b'<html>404</html>',
        'empty': b'',
        'compressed': (tmp_path / 'zipped.tar').read_bytes(),
    }
    for name, content in cases.items():
        path = tmp_path / f'{name}.tar'
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf'{name}\.tar: (is no complete|the archive is dam)'):
            fileio.get(f'{path}/rgb/a.png', backend_args=ARGS)
    # Cut off after the index was made, without a change of the stamp that the index carries.
    path = tmp_path / 'late.tar'
    path.write_bytes(whole)
    archive = TarArchive(str(path), stamp(path))
    os.truncate(path, 800)
    with pytest.raises(DataError, match=r"late\.tar: the archive ends inside 'rgb/a.png'"):
        archive.read('rgb/a.png')


def test_hard_links_are_followed_and_names_cannot_leave(tmp_path):
    path = tmp_path / 'a.tar'
    with tarfile.open(path, 'w') as archive:
        entry = tarfile.TarInfo('a')
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b'abc'))
        link = tarfile.TarInfo('b')
        link.type, link.linkname = tarfile.LNKTYPE, 'a'
        archive.addfile(link)
        soft = tarfile.TarInfo('c')
        soft.type, soft.linkname = tarfile.SYMTYPE, '/etc/passwd'
        archive.addfile(soft)
    assert fileio.get(f'{path}/b', backend_args=ARGS) == b'abc'
    for name in ('c', '../a.tar', '/etc/passwd'):
        with pytest.raises(FileNotFoundError):
            fileio.get(f'{path}/{name}', backend_args=ARGS)


def test_threads_and_forked_children_read_through_one_handle(tmp_path):
    members = {f'f/{i}': rng.bytes(3000 + i) for i in range(50)}
    path = write_tar(tmp_path / 'a.tar', members)
    archive = TarArchive(path, stamp(path))
    wrong = []

    def read_all(seed):
        for i in np.random.default_rng(seed).permutation(50):
            if archive.read(f'f/{i}') != members[f'f/{i}']:
                wrong.append(i)

    threads = [threading.Thread(target=read_all, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    # Parent and child share the file; a file position would race.
    child = os.fork()
    if child == 0:
        read_all(9)
        os._exit(len(wrong) > 0)
    read_all(10)
    assert os.waitpid(child, 0)[1] == 0 and not wrong


name_parts = st.text(
    st.characters(blacklist_categories=('Cs', 'Cc'), blacklist_characters='/\\'),
    min_size=1,
    max_size=8,
).filter(lambda part: part not in ('.', '..'))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    members=st.dictionaries(
        st.lists(name_parts, min_size=1, max_size=3).map('/'.join), st.binary(max_size=600),
        max_size=8,
    )
)  # fmt: skip
def test_any_names_and_contents_come_back(tmp_path, members):
    path = write_tar(tmp_path / 'any.tar', members)
    archive = TarArchive(path, (os.stat(path).st_size, int(rng.integers(2**60))))
    assert archive.members('') == sorted(members, key=os.fsencode)
    for name, content in members.items():
        assert archive.read(name) == content
