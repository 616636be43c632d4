import json

import numpy as np
import pytest

from mmdense.apis.curves import load_curves, make_panels, read_rows
from mmdense.utils import DataError
from mmdense.visualization.curves import Line, Panel, draw_panels, running_mean


def write_log(folder, stamp, rows, tail=''):
    path = folder / stamp / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows) + tail)
    return path


def train(step, **numbers):
    return {'lr': 0.1, 'loss': 3.0, **numbers, 'time': 0.5, 'iter': step, 'step': step}


def val(step, **numbers):
    return {**numbers, 'time': 9.0, 'step': step}


def values(series):
    return dict(zip(series[0].tolist(), series[1].tolist()))


def test_a_log_becomes_series(tmp_path):
    rows = [
        train(10, **{'depth.loss': 2.0, 'normal.loss': 1.0}),
        train(20, **{'depth.loss': 1.5, 'normal.loss': 0.5}),
        val(20, **{'depth/rmse': 0.7, 'normal/mean': 30.0}),
    ]
    # A killed run leaves half a line.
    write_log(tmp_path / 'run_seed3', 'a', rows, '{"lr": 0.')
    run = load_curves(str(tmp_path / 'run_seed3'))
    assert run.name == 'run' and run.tasks == ['depth', 'normal']
    assert values(run.training['depth.loss']) == {10: 2.0, 20: 1.5}
    assert values(run.validation['depth/rmse']) == {20: 0.7}
    # Without a results file the tasks say what stands for them.
    assert run.headlines == ['depth/rmse', 'normal/mean']
    assert values(run.training['time']) == {10: 0.5, 20: 0.5}
    assert values(run.validation['validation time']) == {20: 9.0}
    assert load_curves(f'other={tmp_path / "run_seed3"}').name == 'other'


def test_a_resumed_run_counts_from_where_it_went_on(tmp_path):
    write_log(tmp_path, '1', [train(s, **{'depth.loss': 1.0}) for s in (10, 20, 30)])
    write_log(tmp_path, '2', [train(s, **{'depth.loss': 2.0}) for s in (25, 35)])
    # A test in the same folder logs no iteration, and drops nothing.
    write_log(tmp_path, '3', [val(0, **{'depth/rmse': 0.5})])
    found = values(load_curves(str(tmp_path)).training['depth.loss'])
    assert found == {10: 1.0, 20: 1.0, 25: 2.0, 35: 2.0}


def test_validations_numbered_by_epoch_are_put_at_their_iteration(tmp_path):
    rows = [train(50, epoch=1), val(1, **{'depth/rmse': 2.0})]
    rows += [train(100, epoch=2), val(2, **{'depth/rmse': 1.0})]
    write_log(tmp_path, 'a', rows)
    assert values(load_curves(str(tmp_path)).validation['depth/rmse']) == {50: 2.0, 100: 1.0}


def test_the_results_file_says_headlines_units_and_directions(tmp_path):
    write_log(tmp_path, 'a', [train(1, **{'depth.loss': 1.0}), val(1, **{'depth/abs_rel': 0.1})])
    detail = dict(value=0.1, higher_is_better=False, unit='m')
    report = dict(headlines=dict(depth='depth/abs_rel'), details={'depth/abs_rel': detail})
    (tmp_path / 'results_val.json').write_text(json.dumps(report))
    run = load_curves(str(tmp_path))
    assert run.headlines == ['depth/abs_rel']
    panels = {panel.title: panel for panel in make_panels([run])}
    assert panels['depth/abs_rel (lower is better)'].ylabel == 'm'


def test_gradients_come_from_their_own_file(tmp_path):
    logged = {'gradients/cos_a_b': 0.9, 'a.loss': 1.0, 'b.loss': 1.0}
    write_log(tmp_path, 'a', [train(10, **logged)])
    measured = [dict(iter=i, cos_a_b=-0.1 * i, conflicts=1.0) for i in (3, 6)]
    (tmp_path / 'gradient_diagnostics.json').write_text('\n'.join(map(json.dumps, measured)))
    run = load_curves(str(tmp_path))
    assert values(run.training['gradients/cos_a_b']) == {
        3: pytest.approx(-0.3),
        6: -0.6000000000000001,
    }
    panels = {panel.title: panel for panel in make_panels([run])}
    (cosine,) = panels['angle between gradients of two tasks'].lines
    assert cosine.label == 'a - b' and cosine.values.tolist() == pytest.approx([-0.3, -0.6])
    assert panels['pairs of tasks with gradients in conflict'].lines[0].values.tolist() == [1, 1]


def test_runs_of_one_name_become_mean_and_range(tmp_path):
    for seed, losses in enumerate(((1.0, 2.0, 3.0), (3.0, 6.0))):
        rows = [train(10 * (i + 1), **{'depth.loss': x}) for i, x in enumerate(losses)]
        write_log(tmp_path / f'r_seed{seed}', 'a', rows)
    runs = [load_curves(str(tmp_path / f'r_seed{seed}')) for seed in (0, 1)]
    (line,) = make_panels(runs)[0].lines
    assert line.label == 'r (2 runs)' and line.steps.tolist() == [10, 20]
    assert line.values.tolist() == [2, 4]
    assert (line.low.tolist(), line.high.tolist()) == ([1, 2], [3, 6])


def test_metrics_and_keys_choose_panels(tmp_path):
    numbers = {'depth/rmse': 1.0, 'depth/abs_rel': 2.0, 'depth_inverse_norm/rmse': 3.0}
    write_log(tmp_path, 'a', [train(1, **{'depth.loss': 1.0}), val(1, **numbers)])
    run = load_curves(str(tmp_path))
    chosen = make_panels([run], metrics=['depth_inverse_norm/rmse'], keys=['^time$', 'rel'])
    titles = [panel.title for panel in chosen]
    assert titles[:2] == ['depth: training loss', 'depth_inverse_norm/rmse']
    assert titles[-2:] == ['time', 'depth/abs_rel'] and 'depth/rmse' not in titles
    with pytest.raises(DataError, match=r"depth/rmze.*Did you mean 'depth/rmse'"):
        make_panels([run], metrics=['depth/rmze'])
    with pytest.raises(DataError, match=r'xyz.*depth/abs_rel.*time'):
        make_panels([run], keys=['xyz'])


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match='no such folder'):
        load_curves(str(tmp_path / 'absent'))
    write_log(tmp_path / 'group' / 'run1', 'a', [train(1)])
    with pytest.raises(DataError, match='its folders run1'):
        load_curves(str(tmp_path / 'group'))
    write_log(tmp_path / 'tested', 'a', [val(0, **{'depth/rmse': 1.0})])
    with pytest.raises(DataError, match='no training iteration'):
        load_curves(str(tmp_path / 'tested'))
    path = tmp_path / 'rows.json'
    path.write_text('{"a": 1}\n{"a":\n{"a": 2}\n')
    with pytest.raises(DataError, match='line 2'):
        read_rows(path)
    path.write_text('[1]\n{"a": 2}\n')
    with pytest.raises(DataError, match='line 1: holds list'):
        read_rows(path)


def test_running_mean_as_by_definition():
    x = np.random.default_rng(0).normal(size=30)
    by_hand = [x[max(i - 4, 0) : i + 5].mean() for i in range(30)]
    assert running_mean(x) == pytest.approx(by_hand)
    assert running_mean(np.array([3.0])).tolist() == [3.0]


def test_panels_are_drawn_in_their_colours(tmp_path):
    import cv2

    steps = np.arange(5)
    line = Line('a', steps, steps * 1.0, steps * 1.0, steps * 1.0)
    band = line._replace(color=1, high=steps + 1.0, smooth=True, label='')
    path = draw_panels([Panel('x', (line,)), Panel(''), Panel('y', (band,), zero=True)],
                       tmp_path / 'new' / 'c.png')  # fmt: skip
    picture = cv2.imread(str(path))[..., ::-1]
    top, bottom = np.array_split(picture, 2)
    left = picture.shape[1] // 2
    blue, red = (0, 0x72, 0xB2), (0xD5, 0x5E, 0)
    assert (top[:, :left] == blue).all(-1).any() and not (top == red).all(-1).any()
    assert (bottom[:, :left] == red).all(-1).any()
    # The empty panel leaves its place white.
    assert (top[:, left + 20 :] == 255).all()
