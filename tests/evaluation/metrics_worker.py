"""One of two processes that evaluate the same pictures; started by ``test_batching.py``."""

import pickle
import sys

import torch
from mmengine.dataset import DefaultSampler
from torch.distributed import destroy_process_group, init_process_group

from mmdense.datasets import RoomsDataset
from mmdense.evaluation import MultiTaskEvaluator

TASKS = dict(
    semseg=dict(type='SemSeg', num_classes=13),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
    saliency=dict(type='Saliency'),
    part=dict(type='Part'),
)
#: Every metric in every averaging, each under a prefix of its own.
METRICS = dict(
    semseg=[
        dict(type='SegMetric', absent='zero', per_class=True),
        dict(type='SegMetric', average='image', prefix='semseg_image'),
    ],
    depth=[
        dict(type='DepthMetric'),
        dict(type='DepthMetric', average='image', crop='eigen', prefix='depth_image'),
    ],
    normal=[
        dict(type='NormalMetric'),
        dict(type='NormalMetric', median='float16', quantize='uint8', prefix='normal_file'),
        dict(type='NormalMetric', median='image', prefix='normal_image'),
    ],
    boundary=[
        dict(type='EdgeLossMetric'),
        dict(type='EdgeLossMetric', positive_weight=None, prefix='boundary_hed'),
    ],
    saliency=[
        dict(type='BinaryFMetric', sigmoid_again=True),
        dict(type='BinaryFMetric', average='image', quantize='uint8', prefix='saliency_image'),
    ],
    part=[dict(type='SegMetric', skip_images='background')],
)
CROSS_TASK = [
    dict(type='NormalDepthConsistencyMetric'),
    dict(type='BoundarySegmentationAgreement'),
    dict(type='ViewConsistencyMetric'),
]
# Odd: with two processes the sampler repeats a picture.
PICTURES = 7


def make_dataset():
    """Both views of rooms; the fourth room lacks its second view."""
    return RoomsDataset(
        TASKS,
        length=4,
        split='val',
        size=(24, 32),
        views='both',
        indices=PICTURES,
        pipeline=[dict(type='mmdense.PackDenseInputs')],
        test_mode=True,
    )


def answer(dataset, index):
    """A sample with noisy predictions; one picture lacks depth, one has another size."""
    sample = dataset[index]['data_samples']
    generator = torch.Generator().manual_seed(index)
    for key, config in TASKS.items():
        task = dataset.tasks[key]
        gt = sample.gt(task)
        if index == 5:
            sample.set_gt(task, gt[..., :20])
            gt = gt[..., :20]
        noise = torch.randn(gt.shape, generator=generator)
        if config['type'] in ('SemSeg', 'Part'):
            random = torch.randint(0, 7, gt.shape, generator=generator)
            pred = torch.where((noise > 1) | (gt == 255), random, gt.long())
        elif config['type'] in ('Boundary', 'Saliency'):
            pred = (4 * gt - 2 + noise).sigmoid()
        else:
            pred = gt + 0.1 * noise
        sample.set_pred(task, pred)
    if index == 2:
        del sample.gt_depth_map
    return sample


def evaluate(batch_size):
    """Results and report of this process's share of the pictures."""
    dataset = make_dataset()
    evaluator = MultiTaskEvaluator(tasks=TASKS, metrics=METRICS, cross_task=CROSS_TASK)
    share = list(DefaultSampler(dataset, shuffle=False))
    for start in range(0, len(share), batch_size):
        evaluator.process([answer(dataset, i) for i in share[start : start + batch_size]])
    results = evaluator.evaluate(len(dataset))
    return results, evaluator.report


def main(out):
    """Evaluate in several batch sizes and save what every process has in the end."""
    torch.set_num_threads(1)
    init_process_group('gloo')
    rank = torch.distributed.get_rank()
    found = {batch_size: evaluate(batch_size) for batch_size in (1, 2, 4)}
    with open(f'{out}.{rank}', 'wb') as file:
        pickle.dump(found, file)
    torch.distributed.barrier()
    destroy_process_group()


if __name__ == '__main__':
    main(sys.argv[1])
