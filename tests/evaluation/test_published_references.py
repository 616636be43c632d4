"""The reference files of published single-task numbers."""

import importlib.util
from pathlib import Path

import pytest

from mmdense.evaluation import DeltaM, load_reference

FOLDER = Path(__file__).parents[2] / 'configs/_base_/references'
PUBLISHED = [path for path in sorted(FOLDER.glob('*.yaml')) if not path.stem.startswith('rooms')]


def tool():
    path = Path(__file__).parents[2] / 'tools/misc/stamp_references.py'
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('path', PUBLISHED, ids=lambda path: path.stem)
def test_protocols_are_those_of_the_profile(path):
    """What a config of the same profile prints, so that its results can be compared."""
    reference = load_reference(path)
    # Refuses lines that differ.
    evaluator = tool().evaluator_of(reference, delta_m=dict(reference=str(path)))
    assert {metric.prefix for metric in evaluator.metrics} == set(reference.tasks)
    assert 'Table' in reference.source


def test_boundaries_of_pascal_are_scored_on_the_list_of_the_published_scripts():
    for path in FOLDER.glob('pascal_*_demt.yaml'):
        line = load_reference(path).metrics['boundary/odsF'].protocol
        assert line.endswith('pictures of test_new.txt')


def test_lines_are_written_anew_and_nothing_else_changes(tmp_path, capsys):
    source = FOLDER / 'pascal_swin-t_demt.yaml'
    old = source.read_text()
    line = load_reference(source).metrics['semseg/mIoU'].protocol
    path = tmp_path / 'x.yaml'
    path.write_text(old.replace(line, 'worded otherwise'))
    assert tool().main([str(path)]) == 0
    assert 'written' in capsys.readouterr().out
    assert path.read_text() == old
    assert tool().main([str(path)]) == 0
    assert 'unchanged' in capsys.readouterr().out
    path.write_text(old.replace('profile: atrc\n', ''))
    assert tool().main([str(path)]) == 1
    assert 'names no profile' in capsys.readouterr().err


def test_every_paper_and_backbone_is_there():
    assert [path.stem for path in PUBLISHED] == [
        'cityscapes_hrnet18_ctal', 'nyud_hrnet18_demt', 'nyud_swin-s_demt', 'nyud_swin-s_mtcp',
        'nyud_swin-t_demt', 'nyuv2_hrnet18_ctal', 'pascal_hrnet18_demt', 'pascal_swin-b_demt',
        'pascal_swin-s_demt', 'pascal_swin-s_mtcp', 'pascal_swin-t_demt',
    ]  # fmt: skip


NYUD = ('semseg/mIoU', 'depth/rmse', 'normal/mean', 'boundary/odsF')
PASCAL = ('semseg/mIoU', 'part/mIoU', 'saliency/maxF', 'normal/mean', 'boundary/odsF')
NYUV2 = ('semseg/mIoU', 'depth/abs_rel', 'normal/mean')
CITYSCAPES = ('semseg/mIoU', 'depth_inverse_norm/abs_rel')


@pytest.mark.parametrize(
    ('name', 'names', 'row', 'printed'),
    [
        # DeMT, Table 1: multi-task baselines and ATRC.
        ('nyud_hrnet18_demt', NYUD, (0.3635, 0.6284, 21.02, 0.7636), -1.89),
        ('nyud_hrnet18_demt', NYUD, (0.3890, 0.6010, 20.48, 0.7634), 1.56),
        ('nyud_swin-s_demt', NYUD, (0.4790, 0.6053, 21.17, 0.7690), -1.96),
        ('nyud_swin-s_demt', NYUD, (0.5150, 0.5474, 20.02, 0.7810), 4.12),
        # DeMT, Table 2.
        ('pascal_hrnet18_demt', PASCAL, (0.5148, 0.5723, 0.8343, 14.10, 0.6976), -6.77),
        ('pascal_swin-s_demt', PASCAL, (0.6810, 0.5620, 0.8064, 16.09, 0.7020), -3.97),
        ('pascal_swin-b_demt', PASCAL, (0.7533, 0.6311, 0.8342, 14.54, 0.7320), 1.04),
        # CTAL, supplement, Tables 1 and 6.
        ('nyuv2_hrnet18_ctal', NYUV2, (0.4925, 0.1658, 24.16), -1.89),
        ('nyuv2_hrnet18_ctal', NYUV2, (0.5270, 0.1529, 22.99), 4.76),
        ('cityscapes_hrnet18_ctal', CITYSCAPES, (0.4978, 31.80), -2.25),
        ('cityscapes_hrnet18_ctal', CITYSCAPES, (0.5194, 22.89), 14.85),
    ],
)
def test_published_delta_m_follows_from_the_published_rows(name, names, row, printed):
    reference = load_reference(FOLDER / f'{name}.yaml')
    details = {
        key: dict(value=value, higher_is_better=reference.metrics[key].higher_is_better,
                  protocol=reference.metrics[key].protocol)
        for key, value in zip(names, row)
    }  # fmt: skip
    headlines = {key.partition('/')[0]: key for key in names}
    found = DeltaM(reference).score(dict(details=details, headlines=headlines))
    assert found['delta_m'] == pytest.approx(printed, abs=0.02)
