import struct
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmdense.datasets import matlab
from mmdense.datasets.matlab import read_mat
from mmdense.utils import DataError

HEADER = b'MATLAB 5.0 MAT-file'.ljust(124) + b'\x00\x01IM'


def element(kind, content):
    return struct.pack('<II', kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(array_class, dims, *parts, name=b'x'):
    """A matrix element with stated dimensions and any content."""
    head = element(6, struct.pack('<II', array_class, 0))
    shape = element(5, struct.pack(f'<{len(dims)}i', *dims))
    return element(14, head + shape + element(1, name) + b''.join(parts))


def names(length, content):
    """The elements of a struct that hold the names of its fields."""
    return element(5, struct.pack('<i', length)), element(1, content)


@pytest.mark.parametrize('compress', [False, True])
def test_variables_come_back(tmp_path, compress):
    rng = np.random.default_rng(0)
    values = dict(
        LabelMap=rng.integers(0, 460, (7, 5)).astype(np.uint16),
        real=rng.normal(size=(3, 4)),
        pairs=rng.normal(size=(2, 2)) + 1j,
        nothing='',
        records=np.array([(1, 'a'), (np.eye(2), '')], dtype=[('m', object), ('n', object)]),
        text='person',
        cells=np.array([np.arange(3.0), 'a', np.zeros((0, 0))], dtype=object),
        record=dict(a=1, b='xy', c=dict(d=np.eye(2))),
        flags=np.array([[True, False]]),
    )
    path = str(tmp_path / 'a.mat')
    scipy.io.savemat(path, values, do_compression=compress)
    expected = scipy.io.loadmat(path)
    for name in values:
        assert str(read_mat(path, name)) == str(expected[name])
    assert np.array_equal(read_mat(path, 'LabelMap'), values['LabelMap'])
    with pytest.raises(DataError, match=r"a.mat: has no variable 'anno'"):
        read_mat(path, 'anno')


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'MATLAB 7.3 MAT-file'.ljust(512) + b'\x89HDF', r"7\.3.*save\(name, '-v7"),
        (b'\x89HDF\r\n\x1a\n' + bytes(600), '7.3'),
        (b'<html>404</html>' * 20, 'no MATLAB 5 file'),
        (b'\0\0\0\0' + bytes(200), 'no MATLAB 5 file'),
        (b'short', 'no MATLAB 5 file'),
        (HEADER + b'\x0e\0\0\0', 'damaged'),
        (HEADER + matrix(6, (60000, 60000), element(9, bytes(8))), r'\[60000, 60000\] is ann'),
        (HEADER + matrix(1, (2**30, 4)), r'cell array of \[1073741824, 4\] has 0 entries'),
        (HEADER + matrix(2, (2**30, 4), *names(1, b'')), 'a struct array of .* has no fields'),
        (HEADER + matrix(2, (2**30, 4), *names(1, b'a')), 'struct array of .* has 0 entries'),
        (HEADER + matrix(2, (1, 1), *names(0, b'a')), 'names of fields have 0 of 1 characters'),
        (HEADER + matrix(2, (1, 1), *names(4, b'abcde')), 'names of fields have 4 of 5'),
        (HEADER + matrix(2, (1, 1), element(9, bytes(8))), 'no names of fields'),
        (HEADER + matrix(1, (1, 1), element(9, bytes(8))), 'cell array of .* has 1 entries'),
        # scipy takes the type for an index of a table: these end the process.
        (HEADER + matrix(6, (1, 1), element(38, bytes(8))), 'holds data of type 38'),
        (HEADER + matrix(6, (1, 1), element(16, bytes(8))), 'holds data of type 16'),
        (HEADER + matrix(4, (1, 1), element(38, b'a')), 'class 4 holds data of type 38'),
        (HEADER + matrix(1, (1, 1), matrix(4, (1, 1), element(0, b'a'))), 'data of type 0'),
        (HEADER + matrix(6, (1, 1)), 'has 0 parts'),
        (HEADER + matrix(6 + 2048, (1, 1), element(9, bytes(8))), 'has 1 parts'),
        (HEADER + matrix(6, (1,) * 33, element(9, bytes(8))), '132 bytes of dimensions'),
        (HEADER + element(13, bytes(64)), 'no variable is at byte 128'),
        (HEADER + matrix(6, (-1, 4), element(9, bytes(32))), r'dimensions \[-1, 4\]'),
        (HEADER + matrix(6, ()), 'dimensions'),
        (HEADER + matrix(16, (1, 1)), 'function'),
        (HEADER + matrix(17, (1, 1)), 'function'),
        (HEADER + matrix(3, (1, 1)), 'object'),
        (HEADER + element(15, zlib.compress(matrix(6, (2**15, 2**15)))), 'announced'),
        (HEADER + element(15, zlib.compress(matrix(6, (1, 1)))[:-9]), 'damaged'),
        (HEADER + element(15, b'not zlib'), 'damaged'),
    ],
)  # fmt: skip
def test_harmful_and_damaged_files_are_refused_by_name(tmp_path, content, words):
    path = tmp_path / 'bad.mat'
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf'bad\.mat: (?s:.*){words}'):
        read_mat(str(path), 'x')


def test_nesting_and_unpacked_size_are_bounded(tmp_path, monkeypatch):
    path = tmp_path / 'bad.mat'
    deep = matrix(6, (1, 1), element(9, bytes(8)))
    for _ in range(40):
        deep = matrix(1, (1, 1), deep)
    path.write_bytes(HEADER + deep)
    with pytest.raises(DataError, match='nest more than 16 deep'):
        read_mat(str(path), 'x')
    monkeypatch.setattr(matlab, 'MAX_BYTES', 10_000)
    scipy.io.savemat(path, dict(x=np.zeros((200, 200))), do_compression=True)
    assert path.stat().st_size < 1000
    with pytest.raises(DataError, match='unpacks to more than'):
        read_mat(str(path), 'x')
    # Nothing is left for a second variable, which must not mean "without limit".
    first = matrix(6, (10, 10), element(9, bytes(800)))
    monkeypatch.setattr(matlab, 'MAX_BYTES', len(HEADER) + len(first))
    path.write_bytes(HEADER + first + element(15, zlib.compress(bytes(50_000))))
    with pytest.raises(DataError, match='unpacks to more than'):
        read_mat(str(path), 'x')


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_altered_file_is_read_or_refused(tmp_path, data):
    path = tmp_path / 'f.mat'
    compress = data.draw(st.booleans())
    record = dict(x=dict(a=np.arange(6.0).reshape(2, 3), b='xy', c=[1, 'z']))
    scipy.io.savemat(path, record, do_compression=compress)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(124, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(100, len(content)))]))
    try:
        read_mat(str(path), 'x')
    except DataError as error:
        assert 'f.mat' in str(error)
