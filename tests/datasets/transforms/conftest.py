import cv2
import numpy as np
import pytest

from mmdense.tasks import build_tasks

TASKS = build_tasks(
    dict(
        semseg=dict(type='SemSeg', num_classes=13),
        depth=dict(type='Depth'),
        normal=dict(type='Normal'),
        boundary=dict(type='Boundary'),
        saliency=dict(type='Saliency'),
        part=dict(type='Part'),
    )
)


def random_gt(task, size, rng, unknown=0.3):
    if task.key in ('semseg', 'part'):
        gt = rng.integers(0, task.num_classes, size).astype(np.uint8)
    elif task.key == 'depth':
        gt = rng.uniform(0.5, 9, size).astype(np.float32)
    elif task.key == 'normal':
        gt = rng.normal(size=(*size, 3)).astype(np.float32)
        gt /= np.linalg.norm(gt, axis=-1, keepdims=True)
    else:
        gt = rng.integers(0, 2, size).astype(np.uint8)
    gt[rng.random(size) < unknown] = task.ignore_value
    return gt


@pytest.fixture
def make_sample():
    """``make_sample(size, seed, unknown)``: a sample with all six tasks and intrinsics."""

    def make(size=(12, 17), seed=0, unknown=0.3):
        rng = np.random.default_rng(seed)
        return dict(
            img=rng.integers(0, 256, (*size, 3), dtype=np.uint8),
            gt={key: random_gt(task, size, rng, unknown) for key, task in TASKS.items()},
            tasks=TASKS,
            rng=np.random.default_rng(seed + 1),
            img_path='a.png',
            sample_id='a',
            ori_shape=size,
            img_shape=size,
            intrinsics=np.array([[20.0, 0, size[1] / 2], [0, 20.0, size[0] / 2], [0, 0, 1]]),
        )

    return make


def _quantise(values):
    return np.clip(values, 0, 255).astype(np.uint8)


def _distort(img, drawn):
    """Brightness, contrast, saturation, hue, each re-quantised; floats instead of tables."""

    def contrast(img):
        return _quantise(img.astype(np.float32) * np.float32(drawn['contrast']))

    if drawn['brightness'] is not None:
        img = _quantise(img.astype(np.float32) + np.float32(drawn['brightness']))
    if drawn['contrast'] is not None and drawn['contrast_first']:
        img = contrast(img)
    if drawn['saturation'] is not None:
        hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV)
        hsv[..., 1] = _quantise(hsv[..., 1].astype(np.float32) * np.float32(drawn['saturation']))
        img = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if drawn['hue'] is not None:
        hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + drawn['hue']) % 180
        img = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if drawn['contrast'] is not None and not drawn['contrast_first']:
        img = contrast(img)
    return img


@pytest.fixture
def distort_by_hand():
    """``distort_by_hand(img, drawn)``: photometric distortion in plain steps."""
    return _distort
