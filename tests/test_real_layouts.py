"""From files in the layout of each data set to numbers: written, checked, trained on, scored."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PREFIX = 'mtl_r18-thin_1xb'

#: Layout of the rooms writer with its options, its size, the config that reads it (of the thin
#: ResNet-18 if it begins with its batch size), its profile and headlines.
CASES = {
    'nyud': ('nyud', None, '8-40k_nyud-425x560', 'atrc',
             {'semseg/mIoU', 'depth/rmse', 'normal/mean', 'boundary/odsF'}),
    'nyud npy': ('nyud-mt', None, '8-40k_nyud-448x576', 'invpt',
                 {'semseg/mIoU', 'depth/rmse', 'normal/mean', 'boundary/odsF'}),
    'nyud resized': ('nyud', None, '8-40k_nyud-480x640', 'mti',
                     {'semseg/mIoU', 'depth/rmse', 'normal/mean', 'boundary/odsF'}),
    'nyuv2': ('nyuv2', None, '8-40k_nyuv2-288x384', 'libmtl',
              {'semseg/mIoU', 'depth/abs_err', 'normal/mean'}),
    'nyuv2 mtan': ('nyuv2', None, '8-40k_nyuv2-288x384_mtan', 'mtan',
                   {'semseg/mIoU', 'depth/abs_err', 'normal/mean'}),
    'pascal': ('pascal', None, '8-40k_pascal-512x512', 'atrc',
               {'semseg/mIoU', 'part/mIoU', 'saliency/maxF', 'normal/mean', 'boundary/odsF'}),
    'pascal resized': ('pascal', None, '8-40k_pascal-512x512_mti', 'mti',
                       {'semseg/mIoU', 'part/mIoU', 'saliency/mIoU', 'normal/mean',
                        'boundary/odsF'}),
    'cityscapes small': ('cityscapes-small', None, '8-40k_cityscapes-128x256', 'libmtl',
                         {'semseg/mIoU', 'depth_inverse_norm/abs_err'}),
    'nyuv2 ctal': ('nyuv2', None, 'mtl_hrnet18_1xb8-19800_nyuv2-288x384', 'ctal',
                   {'semseg/mIoU', 'depth/abs_rel', 'normal/mean'}),
    'cityscapes small ctal': ('cityscapes-small --label-folder label_19', None,
                              'mtl_hrnet18_1xb8-27825_cityscapes-128x256', 'ctal',
                              {'semseg/mIoU', 'depth_inverse_norm/abs_rel'}),
    'pascal survey': ('pascal', None, 'mtl_hrnet18_1xb8-62400_pascal-512x512', 'mti',
                      {'semseg/mIoU', 'part/mIoU', 'saliency/mIoU', 'normal/mean',
                       'boundary/odsF'}),
    'nyud survey': ('nyud', None, 'mtl_hrnet18_1xb8-9900_nyud-480x640', 'mti',
                    {'semseg/mIoU', 'depth/rmse'}),
    'cityscapes': ('cityscapes', (256, 512), '4-40k_cityscapes-512x1024', 'taskprompter',
                   {'semseg/mIoU', 'depth_disparity_px/rmse'}),
    'taskonomy': ('taskonomy', (256, 256), '8-40k_taskonomy-256x256', None,
                  {'semseg/mIoU', 'depth/rmse', 'normal/mean', 'keypoints2d/mae',
                   'edge_texture/mae'}),
}  # fmt: skip


def tool(name, *arguments):
    """Run a tool; its output if it fails."""
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / name), *map(str, arguments)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-4000:])
    return done.stdout


@pytest.fixture(scope='module')
def trees(tmp_path_factory):
    """Layout and size to the folder of a tree of three training and two test pictures."""
    made = {}

    def make(layout, size):
        if (layout, size) not in made:
            root = tmp_path_factory.mktemp(layout.split()[0])
            options = () if size is None else ('--size', *size)
            tool(
                'dataset_converters/rooms.py', '--layout', *layout.split(), '--out', root,
                '--train', 3, '--val', 2, *options,
            )  # fmt: skip
            made[layout, size] = root
        return made[layout, size]

    return make


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES)
def test_baseline_trains_and_is_scored_by_the_profile_of_its_data(case, trees, tmp_path):
    layout, size, config, profile, headlines = CASES[case]
    options = (
        f'data_root={trees(layout, size)}', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2',
        'train_dataloader.batch_size=1', 'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False', 'val_dataloader.batch_size=1',
        'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False',
        'model.backbone.init_cfg=None',
    )  # fmt: skip
    path = f'configs/baselines/{config if config.startswith("mtl") else PREFIX + config}.py'
    tool('train.py', path, '--work-dir', tmp_path, '--cfg-options', *options)
    report = json.loads((tmp_path / 'results_val.json').read_text())
    assert report['pictures'] == 2
    assert report['profile'] == profile
    assert set(report['headlines'].values()) == headlines
    assert sum(report['resolution'].values()) == 2
    for name in headlines:
        detail = report['details'][name]
        # LibMTL's mIoU does not exist where a class is neither labelled nor predicted.
        undefined = profile == 'libmtl' and name == 'semseg/mIoU' and detail['value'] is None
        assert undefined or detail['value'] >= 0
        assert detail['protocol']
