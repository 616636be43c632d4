"""A tiny tree of every data set, written from known arrays, with what must be read back."""

import json
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
import scipy.io
from skimage.morphology import thin

from mmdense.datasets import (
    CityscapesDataset,
    CityscapesSmallDataset,
    NYUDv2Dataset,
    NYUv2Dataset,
    PASCALContextDataset,
    TaskonomyDataset,
)

SIZE = (12, 16)
REGRESSIONS = dict(
    edge_texture='EdgeTexture',
    edge_occlusion='EdgeOcclusion',
    keypoints2d='Keypoints2D',
    keypoints3d='Keypoints3D',
    reshading='Reshading',
    principal_curvature='PrincipalCurvature',
)


@dataclass
class Tree:
    """A data set on disk.

    ``truth`` is sample id to the expected arrays, ``files`` task key (and 'img') to the file of
    the first sample.
    """

    cls: type
    tasks: dict
    root: object
    kwargs: dict = field(default_factory=dict)
    truth: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)

    def build(self, tasks=None, root=None, **kwargs):
        tasks = self.tasks if tasks is None else {key: self.tasks[key] for key in tasks}
        # Serialising collects garbage, which takes a third of a second beside torch.
        options = dict(serialize_data=False, **self.kwargs)
        return self.cls(tasks, data_root=str(root or self.root), **{**options, **kwargs})


def write(path, array):
    """A .png (RGB), a .npy or a .mat of variables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.npy':
        np.save(path, array)
    elif path.suffix == '.mat':
        scipy.io.savemat(path, array, do_compression=True)
    else:
        assert cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)


def unit_vectors(rng, size=SIZE):
    normal = rng.normal(size=(*size, 3)).astype(np.float32)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def decode_bytes(stored):
    """8-bit normals to unit vectors, by the formula of the layout."""
    normal = 2.0 * stored / 255 - 1
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def picture(rng):
    return rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def write_nyud(root):
    rng = np.random.default_rng(0)
    tasks = dict(
        semseg=dict(type='SemSeg', num_classes=40),
        depth=dict(type='Depth'),
        normal=dict(type='Normal'),
        boundary=dict(type='Boundary'),
    )
    tree = Tree(NYUDv2Dataset, tasks, root)
    for stem in ('0001', '0002', '0003'):
        img = picture(rng)
        labels = rng.integers(0, 41, SIZE).astype(np.uint8)
        labels[0, :3] = 0, 1, 40
        depth = rng.uniform(0.5, 9.9, SIZE).astype(np.float32)
        depth[0, 0] = 0
        normal = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        edge = rng.integers(0, 2, SIZE).astype(np.uint8)
        files = dict(
            img=root / f'images/{stem}.png',
            semseg=root / f'segmentation/{stem}.png',
            depth=root / f'depth/{stem}.npy',
            normal=root / f'normals/{stem}.png',
            boundary=root / f'edge/{stem}.png',
        )
        for key, array in zip(files, (img, labels, depth, normal, edge * 255)):
            write(files[key], array)
        tree.files = tree.files or files
        tree.truth[stem] = dict(
            img=img,
            semseg=np.where(labels == 0, 255, labels - 1.0),
            depth=depth,
            normal=decode_bytes(normal),
            boundary=edge,
        )
    (root / 'gt_sets').mkdir()
    (root / 'gt_sets/train.txt').write_text('\n'.join(tree.truth))
    return tree


def write_nyuv2(root):
    rng = np.random.default_rng(1)
    tasks = dict(
        semseg=dict(type='SemSeg', num_classes=13),
        depth=dict(type='Depth'),
        normal=dict(type='Normal'),
    )
    tree = Tree(NYUv2Dataset, tasks, root)
    for number in range(11):  # two digits: numeric order differs from that of names
        img = picture(rng)
        label = rng.integers(-1, 13, SIZE).astype(np.float64 if number % 2 else np.int64)
        label[0, :2] = -1, 12
        depth = rng.uniform(0.5, 9.9, (*SIZE, 1)).astype(np.float32)
        normal = unit_vectors(rng)
        depth[0, 0] = normal[0, 0] = 0
        files = {
            key: root / f'train/{folder}/{number}.npy'
            for key, folder in zip(
                ('img', 'semseg', 'depth', 'normal'), ('image', 'label', 'depth', 'normal')
            )
        }
        unit = (img / 255).astype(np.float32 if number % 2 else np.float64)
        for key, array in zip(files, (unit, label, depth, normal)):
            write(files[key], array)
        tree.files = tree.files or files
        tree.truth[str(number)] = dict(
            img=img, semseg=np.where(label < 0, 255, label), depth=depth[..., 0], normal=normal
        )
    return tree


def structs(names, rows):
    """A MATLAB struct array; the empty matrix if there is none."""
    if not rows:
        return np.zeros((0, 0))
    array = np.empty((1, len(rows)), [(name, object) for name in names])
    for column, row in enumerate(rows):
        array[0, column] = row
    return array


def annotation(objects):
    """``anno`` of PASCAL-Part: objects are (name, category, mask, [(part, mask)])."""
    rows = [
        (name, category, mask, structs(('part_name', 'mask'), parts))
        for name, category, mask, parts in objects
    ]
    members = structs(('class', 'class_ind', 'mask', 'parts'), rows)
    return dict(anno=structs(('imname', 'objects'), [('x', members)]))


def write_pascal(root):
    rng = np.random.default_rng(2)
    tasks = dict(
        semseg=dict(type='SemSeg', num_classes=21),
        part=dict(type='Part'),
        saliency=dict(type='Saliency'),
        normal=dict(type='Normal'),
        boundary=dict(type='Boundary'),
    )
    tree = Tree(PASCALContextDataset, tasks, root, dict(normal_ids=[440, 158, 284]))
    for stem in ('2008_000002', '2008_000003'):
        img = picture(rng)
        labels = rng.integers(0, 21, SIZE).astype(np.uint8)
        labels[0, :2] = 255, 20
        context = np.repeat(np.repeat(rng.choice([440, 158, 284, 2, 189], (3, 4)), 4, 0), 4, 1)
        normal = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        saliency = rng.integers(0, 256, SIZE).astype(np.uint8)
        saliency[0, :4] = 0, 127, 128, 255
        head, arm = np.zeros((2, *SIZE), np.uint8)
        head[2:6, 3:7] = arm[4:9, 5:9] = 1
        whole = head | arm
        objects = [
            ('dog', 12, whole, [('head', whole)]),
            ('person', 15, whole, [('lear', head), ('rhand', arm)]),
        ]
        files = dict(
            img=root / f'JPEGImages/{stem}.jpg',
            semseg=root / f'semseg/VOC12/{stem}.png',
            part=root / f'human_parts/{stem}.mat',
            saliency=root / f'sal_distill/{stem}.png',
            normal=root / f'normals_distill/{stem}.png',
            boundary=root / f'pascal-context/trainval/{stem}.mat',
        )
        variables = dict(LabelMap=context.astype(np.uint16))
        arrays = (img, labels, annotation(objects), saliency, normal, variables)
        for key, array in zip(files, arrays):
            write(files[key], array)
        parts = np.where(arm, 4, np.where(head, 1, 0))
        valid = np.isin(context, (440, 158, 284))
        padded = np.pad(context.astype(float), 1, mode='reflect')
        laplacian = (
            padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        ) - 4 * context
        tree.files = tree.files or files
        tree.truth[stem] = dict(
            img=cv2.imread(str(files['img']))[..., ::-1],
            semseg=labels,
            part=parts,
            saliency=(saliency / 255 > 0.5).astype(int),
            normal=np.where(valid[..., None], decode_bytes(normal), 0),
            boundary=thin(laplacian != 0),
            context=context,
        )
    (root / 'ImageSets/Context').mkdir(parents=True)
    (root / 'ImageSets/Context/train.txt').write_text('\n'.join(tree.truth))
    return tree


CAMERA = dict(
    extrinsic=dict(baseline=0.21, pitch=0.03, x=1.7),
    intrinsic=dict(fx=2262.5, fy=2265.3, u0=1096.9, v0=513.1),
)


def write_cityscapes(root):
    rng = np.random.default_rng(3)
    tasks = dict(
        semseg=dict(type='SemSeg', num_classes=19),
        depth=dict(type='Depth', kind='disparity_px', min_depth=0, max_depth=300),
    )
    tree = Tree(CityscapesDataset, tasks, root)
    ids = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    for city, number in (('aachen', 0), ('ulm', 7), ('ulm', 19)):
        stem = f'{city}_{number:06d}_000019'
        img = picture(rng)
        labels = rng.integers(0, 34, SIZE).astype(np.uint8)
        labels[0, :3] = 255, 0, 33
        stored = rng.integers(0, 32258, SIZE).astype(np.uint16)
        stored[0, :4] = 0, 1, 2, 65535
        files = dict(
            img=root / f'leftImg8bit/train/{city}/{stem}_leftImg8bit.png',
            semseg=root / f'gtFine/train/{city}/{stem}_gtFine_labelIds.png',
            depth=root / f'disparity/train/{city}/{stem}_disparity.png',
        )
        for key, array in zip(files, (img, labels, stored)):
            write(files[key], array)
        # What else the official folder holds must not be taken for the labels.
        write(root / f'gtFine/train/{city}/{stem}_gtFine_color.png', img)
        camera = root / f'camera/train/{city}/{stem}_camera.json'
        camera.parent.mkdir(parents=True, exist_ok=True)
        camera.write_text(json.dumps(CAMERA))
        tree.files = tree.files or dict(files, camera=camera)
        tree.truth[f'{city}/{stem}'] = dict(
            img=img,
            semseg=np.vectorize(lambda i: ids.index(i) if i in ids else 255)(labels),
            depth=np.where(stored == 0, -1, (stored.astype(float) - 1) / 256),
            stored=stored,
            ids=labels,
        )
    return tree


def write_cityscapes_small(root):
    rng = np.random.default_rng(4)
    tasks = dict(
        semseg=dict(type='SemSeg', num_classes=7),
        depth=dict(type='Depth', kind='inverse_norm', min_depth=0, max_depth=1),
    )
    tree = Tree(CityscapesSmallDataset, tasks, root, dict(label_folder='label_7'))
    for number in range(3):
        img = picture(rng)
        label = rng.integers(-1, 7, SIZE)
        label[0, :2] = -1, 6
        depth = (rng.integers(0, 32258, (*SIZE, 1)) / 65535).astype(np.float32)
        depth[0, 0] = 0
        files = {
            key: root / f'train/{folder}/{number}.npy'
            for key, folder in zip(('img', 'semseg', 'depth'), ('image', 'label_7', 'depth'))
        }
        for key, array in zip(files, (img / 255, label, depth)):
            write(files[key], array)
        tree.files = tree.files or files
        tree.truth[str(number)] = dict(
            img=img, semseg=np.where(label < 0, 255, label), depth=depth[..., 0]
        )
    return tree


def write_taskonomy(root):
    rng = np.random.default_rng(5)
    tasks = dict(
        semseg=dict(type='SemSeg', num_classes=17),
        depth=dict(type='Depth', max_depth=128),
        normal=dict(type='Normal'),
        **{key: dict(type=name) for key, name in REGRESSIONS.items()},
    )
    tree = Tree(TaskonomyDataset, tasks, root, dict(buildings=['adel', 'bow']))
    for building, view in (('adel', 0), ('adel', 1), ('bow', 0)):
        stored = dict(
            img=picture(rng),
            semseg=rng.integers(0, 18, SIZE).astype(np.uint8),
            depth=rng.integers(1, 65535, SIZE).astype(np.uint16),
            normal=rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
            **{
                key: rng.integers(0, 65536, SIZE).astype(np.uint16)
                for key in ('edge_texture', 'edge_occlusion', 'keypoints2d', 'keypoints3d')
            },
            reshading=rng.integers(0, 256, SIZE).astype(np.uint8),
            principal_curvature=rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        )
        stored['semseg'][0, :3] = 0, 1, 17
        stored['depth'][0, :3] = 65535, 0, 512
        stored['edge_texture'][0, :3] = 0, 16384, 65535
        stored['principal_curvature'][0, 0] = 127
        files = {}
        for key, array in stored.items():
            domain = dict(img='rgb', depth='depth_zbuffer', semseg='segment_semantic').get(key, key)
            # The one domain whose files are named otherwise than its folder.
            ending = domain.replace('_', '') if key == 'semseg' else domain
            files[key] = root / building / domain / f'point_{view}_view_0_domain_{ending}.png'
            write(files[key], array)
        no_geometry = stored['depth'] == 65535
        normal = decode_bytes(stored['normal']) * [1, -1, 1]
        normal[no_geometry] = 0
        labels = stored['semseg'].astype(int)
        tree.files = tree.files or files
        tree.truth[f'{building}/point_{view}_view_0'] = dict(
            img=stored['img'],
            semseg=np.where(labels == 0, 255, labels - 1),
            depth=np.where(no_geometry, 0, stored['depth'] / 512),
            normal=normal,
            edge_texture=np.minimum(stored['edge_texture'] / 65535, 0.25),
            **{
                key: stored[key] / 65535 for key in ('edge_occlusion', 'keypoints2d', 'keypoints3d')
            },
            reshading=stored['reshading'] / 255,
            principal_curvature=(stored['principal_curvature'][..., :2] - 127.0) / 128,
        )
    return tree


LAYOUTS = dict(
    nyud=write_nyud,
    nyuv2=write_nyuv2,
    pascal=write_pascal,
    cityscapes=write_cityscapes,
    cityscapes_small=write_cityscapes_small,
    taskonomy=write_taskonomy,
)


@pytest.fixture
def make_tree(tmp_path):
    """Write the tree of a data set; returns the :class:`Tree`."""

    def make(name):
        root = tmp_path / name
        root.mkdir()
        return LAYOUTS[name](root)

    return make


@pytest.fixture(params=list(LAYOUTS))
def tree(request, make_tree):
    """The tree of every data set in turn."""
    return make_tree(request.param)


@pytest.fixture
def save():
    """Write one file of a tree."""
    return write


@pytest.fixture
def pascal_annotation():
    """Objects (name, category, mask, [(part, mask)]) to the variables of a parts file."""
    return annotation
