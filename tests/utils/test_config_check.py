import pytest

from mmdense.utils.config_check import ConfigError, check_config, require_valid_config


def problem(**cfg):
    found = check_config(dict(default_scope='mmdense', **cfg))
    assert len(found) == 1, [str(item) for item in found]
    return str(found[0])


def test_unknown_type_names_path_value_and_remedy():
    text = problem(model=dict(type='DensePredctor'))
    assert text.startswith("model.type: 'DensePredctor'")
    assert "Did you mean 'DensePredictor'" in text


@pytest.mark.parametrize(
    ('given', 'meant'), [('convnext', 'ConvNeXt'), ('KMaxPixelDecoder', 'KMaXPixelDecoder')]
)
def test_case_of_a_type_is_no_riddle(given, meant):
    text = problem(model=dict(type='DensePredictor', backbone=dict(type=given)))
    assert f"Did you mean '{meant}'" in text


def test_short_registries_are_listed():
    text = problem(model=dict(type='DensePredictor', tasks=dict(a=dict(type='Deph'))))
    assert text.startswith("model.tasks.a.type: 'Deph'")
    for part in ('Known: ', 'Boundary', 'Saliency', "Did you mean 'Depth'"):
        assert part in text
    assert 'Known' not in problem(model=dict(type='DensePredctor'))


def test_only_what_is_built_is_checked():
    cfg = dict(
        default_scope='mmdense',
        tasks=dict(depth=dict(type='Deph')),
        model=dict(type='Nothing'),
        val_dataloader=dict(dataset=dict(type='RoomDataset')),
    )
    found = [item.path for item in check_config(cfg, only=('tasks', 'val_dataloader'))]
    assert found == ['tasks.depth.type', 'val_dataloader.dataset.type']


def test_type_of_another_package_is_offered_with_its_scope():
    text = problem(model=dict(type='DensePredictor', backbone=dict(type='FCNHead')))
    assert text.startswith("model.backbone.type: 'FCNHead'")
    assert "'mmseg.FCNHead'" in text


def test_type_of_an_absent_package_says_so():
    text = problem(model=dict(type='nosuchpackage.Model'))
    assert '`nosuchpackage` is not installed' in text


def test_misspelt_key_names_path_class_and_remedy():
    text = problem(
        model=dict(type='DensePredictor', tasks=dict(semseg=dict(type='SemSeg', num_clas=3)))
    )
    assert text.startswith('model.tasks.semseg.num_clas: SemSeg takes no argument')
    assert "Did you mean 'num_classes'?" in text


def test_necks_by_name_are_looked_into():
    neck = dict(a=dict(type='TaskQuery'), b=dict(type='DeformableMixr'))
    text = problem(model=dict(type='DensePredictor', neck=neck))
    assert text.startswith("model.neck.b.type: 'DeformableMixr'")
    text = problem(model=dict(type='DensePredictor', neck=dict(channels=8)))
    assert text.startswith('model.neck: has no `type`')


def test_several_mistakes_come_in_one_message():
    cfg = dict(
        default_scope='mmdense',
        model=dict(type='Nothing'),
        train_dataloader=dict(batchsize=1, dataset=dict(type='Nothing2')),
    )
    with pytest.raises(ConfigError, match='3 mistakes') as caught:
        require_valid_config(cfg, 'a.py')
    for part in ('a.py', 'model.type', 'train_dataloader.dataset.type', "'batch_size'"):
        assert part in str(caught.value)


def test_key_that_kwargs_would_swallow_is_found_when_close():
    text = problem(default_hooks=dict(checkpoint=dict(type='CheckpointHook', intervl=1)))
    assert "Did you mean 'interval'?" in text
    assert not check_config(
        dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', pickle_protocol=4)))
    )


def test_keys_that_mmengine_takes_out_are_no_mistakes():
    assert not check_config(
        dict(
            default_scope='mmdense',
            optim_wrapper=dict(
                optimizer=dict(type='AdamW', lr=1e-3),
                clip_grad=dict(type='norm', max_norm=1.0),
                paramwise_cfg=dict(norm_decay_mult=0.0),
                constructor='DefaultOptimWrapperConstructor',
            ),
            param_scheduler=[dict(type='LinearLR', convert_to_iter_based=True, end=3)],
            custom_hooks=[dict(type='EMAHook', priority='LOW', momentum=0.1)],
            train_cfg=dict(by_epoch=True, max_epochs=1),
            visualizer=dict(vis_backends=[dict(type='LocalVisBackend')]),
            log_processor=dict(window_size=10),
            default_hooks=dict(logger=None),
        )
    )


def test_scope_of_a_part_is_respected():
    head = dict(type='FCNHead', _scope_='mmseg', in_channels=3, channels=3, num_classes=2)
    model = dict(type='DensePredictor', heads=dict(semseg=head))
    assert not check_config(dict(default_scope='mmdense', model=model))


def test_dicts_with_a_type_of_their_own_are_left_alone():
    model = dict(
        type='DensePredictor', test_cfg=dict(type='anything'), schedule=dict(type='linear')
    )
    found = check_config(dict(default_scope='mmdense', model=model))
    assert [item.path for item in found] == ['model.schedule']


def test_patterns_of_tasks_are_no_tasks():
    """The documented command for the projects stopped at the hook that sorts losses into tasks."""
    tasks = dict(decode=r'^decode\.', aux=[r'^aux\.', 'loss_aux'])
    hook = dict(type='LossBalancerHook', tasks=tasks, balancer=dict(type='UncertaintyWeights'))
    assert not check_config(dict(default_scope='mmdense', custom_hooks=[hook]))
    hook['balancer']['type'] = 'UncertaintyWeigths'
    assert check_config(dict(default_scope='mmdense', custom_hooks=[hook]))


def test_part_without_type():
    text = problem(model=dict(type='DensePredictor', backbone=dict(depth=50)))
    assert text.startswith('model.backbone: has no `type`')


@pytest.mark.parametrize('key', ['optim_wraper', 'train_dataloder'])
def test_top_level_near_miss(key):
    text = problem(**{key: dict()})
    assert text.startswith(f'{key}: has no effect')


@pytest.mark.parametrize('key', ['train_dataloader2', 'train_pipeline', 'data_root', 'crop_size'])
def test_helper_variables_are_no_mistakes(key):
    assert not check_config({key: dict()})


def test_class_as_type():
    from mmengine.hooks import IterTimerHook

    assert not check_config(dict(custom_hooks=[dict(type=IterTimerHook)]))
    assert 'no argument' in problem(custom_hooks=[dict(type=IterTimerHook, x=1)])
