"""Work directories as training leaves them, with made-up numbers."""

import json

POOLED = 'pooled over pixels, 0.001 < gt < 10 m, no crop'
DETAILS = {
    'semseg/mIoU': dict(higher_is_better=True, percent=True, unit='', protocol='one confusion'),
    'semseg/pixAcc': dict(higher_is_better=True, percent=True, unit='', protocol='one confusion'),
    'depth/rmse': dict(higher_is_better=False, percent=False, unit='m', protocol=POOLED),
    'depth/abs_rel': dict(higher_is_better=False, percent=False, unit='', protocol=POOLED),
    'normal/mean': dict(higher_is_better=False, percent=False, unit='deg', protocol='pooled'),
}
HEADLINES = dict(semseg='semseg/mIoU', depth='depth/rmse', normal='normal/mean')


def write_run(
    folder,
    values,
    *,
    config='mtl_r18-thin_1xb8-600_rooms',
    seed=0,
    protocol=None,
    pictures=200,
    iteration=600,
    split='val',
    name='results_val.json',
    **facts,
):
    """A folder with a results file; returns the folder."""  # fmt: skip
    details = {}
    for key, value in values.items():
        details[key] = dict(DETAILS[key], value=value)
        if protocol:
            details[key]['protocol'] = protocol
    tasks = dict.fromkeys(key.partition('/')[0] for key in values)
    run = dict(
        config=config, experiment=config, seed=seed, parameters=2_000_000,
        backbone=dict(name='r18-thin', description='ResNet(depth=18)', weights='random'),
        schedule=dict(iterations=600, batch_size=8),
        data=dict(dataset='RoomsDataset', root=None, split=split), wall_s=150.0 + seed,
    )  # fmt: skip
    report = dict(
        iteration=iteration, run={**run, **facts}, pictures=pictures, details=details,
        metrics=dict(values), headlines={t: HEADLINES[t] for t in tasks},
        resolution={'96x128': pictures}, profile=None,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(report))
    return folder


MTL = [
    {'semseg/mIoU': 0.41, 'semseg/pixAcc': 0.7, 'depth/rmse': 0.50, 'depth/abs_rel': 0.10,
     'normal/mean': 20.0},
    {'semseg/mIoU': 0.43, 'semseg/pixAcc': 0.72, 'depth/rmse': 0.54, 'depth/abs_rel': 0.12,
     'normal/mean': 21.0},
    {'semseg/mIoU': 0.42, 'semseg/pixAcc': 0.71, 'depth/rmse': 0.49, 'depth/abs_rel': 0.11,
     'normal/mean': 20.5},
]  # fmt: skip
BETTER = [{k: v * (1.1 if DETAILS[k]['higher_is_better'] else 0.9) for k, v in run.items()}
          for run in MTL]  # fmt: skip
STL = {'semseg/mIoU': 0.40, 'semseg/pixAcc': 0.7, 'depth/rmse': 0.5, 'depth/abs_rel': 0.1,
       'normal/mean': 20.0}  # fmt: skip


def write_experiments(root):
    """Two multi-task experiments of 3 seeds and single-task runs; returns their folders."""
    mtl = [write_run(root / f'mtl_seed{s}', v, seed=s) for s, v in enumerate(MTL)]
    other = 'demt_r18-thin_1xb8-600_rooms'
    better = [
        write_run(root / f'demt_seed{s}', v, seed=s, config=other, parameters=3_500_000)
        for s, v in enumerate(BETTER)
    ]
    stl = []
    for task in HEADLINES:
        values = {k: v for k, v in STL.items() if k.startswith(f'{task}/')}
        config = f'stl_r18-thin_1xb8-600_rooms_{task}'
        for seed in range(2):
            nudged = {k: v * (1 + 0.02 * seed) for k, v in values.items()}
            stl.append(write_run(root / f'stl_{task}_seed{seed}', nudged, seed=seed, config=config))
    return mtl, better, stl
