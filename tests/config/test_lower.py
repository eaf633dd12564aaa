import copy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from mmopt.config import ConfigError, is_native, lower
from mmopt.config.evaluation import best_rule
from mmopt.config.words.names import lookalikes
from mmopt.utils.score_rule import score_rule
from tests.config.samples import make_config, make_epoch_config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def test_a_whole_config_by_hand():
    lowered = lower(make_config(seed=3, data=dict(test=None)))
    loader = dict(num_workers=2, collate_fn=dict(type='stack_collate'), pin_memory=True, persistent_workers=True)
    assert lowered == dict(
        default_scope='mmopt',
        runner_type='IterBasedRunner',
        model=dict(type='Net'),
        train_dataloader=dict(
            batch_size=4,
            sampler=dict(type='ResumableSampler', shuffle=True, endless=True),
            dataset=dict(type='Data', data_root='data/x'),
            drop_last=True,
            **loader,
        ),
        val_dataloader=dict(
            batch_size=1,
            sampler=dict(type='EvaluationSampler', shuffle=False),
            dataset=dict(type='Data', data_root='data/x', test_mode=True),
            drop_last=False,
            **loader,
        ),
        val_cfg=dict(type='ValLoop'),
        val_evaluator=dict(type='Evaluator', metrics=[dict(type='DatasetEvaluateMetric', metric='mIoU')]),
        train_cfg=dict(
            type='IterBasedTrainLoop',
            max_iters=100,
            val_interval=10,
            val_start=None,
            dynamic_intervals=None,
            val_at_end=True,
        ),
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.01),
            constructor='MMCV1OptimWrapperConstructor',
            paramwise_cfg=None,
            clip_grad=None,
            accumulative_counts=1,
        ),
        param_scheduler=[dict(type='ClosedFormLR', policy='Poly', by_epoch=False, power=1.0, min_lr=0.0)],
        default_hooks=dict(
            runtime_info=dict(type='RuntimeInfoHook'),
            timer=dict(type='IterTimerHook'),
            sampler_seed=None,
            logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
            param_scheduler=dict(type='ParamSchedulerHook'),
            checkpoint=dict(
                type='CheckpointHook',
                interval=10,
                by_epoch=False,
                max_keep_ckpts=-1,
                save_last=True,
                save_best=None,
                rule=None,
            ),
        ),
        custom_hooks=[],
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer'),
        log_processor=dict(type='LogProcessor', window_size=50, by_epoch=False),
        log_level='INFO',
        load_from=None,
        resume=False,
        env_cfg=dict(
            cudnn_benchmark=False,
            mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
            dist_cfg=dict(backend='nccl'),
        ),
        randomness=dict(seed=3, deterministic=False),
    )


def test_an_epoch_based_run():
    lowered = lower(make_epoch_config())
    assert lowered['runner_type'] == 'EpochBasedRunner'
    assert lowered['train_cfg']['type'] == 'EpochBasedTrainLoop'
    assert lowered['train_cfg']['max_epochs'] == 12
    assert lowered['train_dataloader']['sampler'] == dict(type='ResumableSampler', shuffle=True, endless=False)
    assert lowered['train_dataloader']['drop_last'] is False
    assert lowered['param_scheduler'] == [dict(type='ClosedFormLR', policy='Step', by_epoch=True, step=[8, 11])]
    assert lowered['log_processor']['by_epoch'] is True


def test_a_native_config_comes_back_as_it_is():
    native = dict(train_dataloader=dict(batch_size=2), optim_wrapper=dict(type='OptimWrapper'), anything=1)
    assert lower(native) == native


def test_a_lowered_config_is_native():
    lowered = lower(make_config())
    assert lower(lowered) == lowered


@given(
    changes=st.fixed_dictionaries(
        {},
        optional=dict(
            data=st.sampled_from([dict(workers_per_gpu=0), dict(shuffle=False, pin_memory=False)]),
            optimizer=st.sampled_from([dict(paramwise_cfg=dict(norm_decay_mult=0.0)), dict(constructor='Mine')]),
            optimizer_config=st.sampled_from([dict(grad_clip=dict(max_norm=1.0))]),
            momentum_config=st.sampled_from([dict(policy='cyclic'), dict(policy='OneCycle', pct_start=0.4)]),
            fp16=st.sampled_from([dict(), dict(loss_scale='dynamic'), dict(loss_scale=dict(init_scale=512.0))]),
            custom_hooks=st.sampled_from([[dict(type='EMAHook')], [dict(type='NumClassCheckHook')]]),
            seed=st.integers(0, 9),
            unrelated=st.sampled_from([dict(a=[1, 2])]),
        ),
    )
)
@settings(max_examples=50, deadline=None)
def test_the_input_is_never_changed_nor_shared(changes):
    cfg = make_config(**changes)
    before = copy.deepcopy(cfg)
    lowered = lower(cfg)
    assert cfg == before
    for section in _dicts(lowered):
        section.clear()
    assert cfg == before


def _dicts(part):
    if isinstance(part, dict):
        for value in list(part.values()):
            yield from _dicts(value)
        yield part
    elif isinstance(part, list):
        for value in part:
            yield from _dicts(value)


# --- data -----------------------------------------------------------------------------------------------------------


def test_without_workers_nothing_that_needs_workers_is_set():
    loader = lower(make_config(data=dict(workers_per_gpu=0, persistent_workers=True, prefetch_factor=4)))
    assert not {'persistent_workers', 'prefetch_factor'} & set(loader['train_dataloader'])


def test_a_cache_is_for_all_splits_but_those_that_say_none():
    data = dict(cache='disk', cache_dir='/fast', val_dataloader=dict(cache=None), test_dataloader=dict(cache='ram'))
    lowered = lower(make_config(data=data))
    kept = [
        {key: value for key, value in lowered[f'{split}_dataloader'].items() if 'cache' in key}
        for split in ('train', 'val', 'test')
    ]
    assert kept == [dict(cache='disk', cache_dir='/fast'), {}, dict(cache='ram', cache_dir='/fast')]


def test_a_loader_of_its_own_overrides_the_shared_keys():
    data = dict(
        prefetch_factor=4,
        train_dataloader=dict(samples_per_gpu=8, shuffle=False, drop_last=False),
        val_dataloader=dict(samples_per_gpu=3, workers_per_gpu=1),
    )
    lowered = lower(make_config(data=data))
    assert lowered['train_dataloader']['batch_size'] == 8
    assert lowered['train_dataloader']['sampler']['shuffle'] is False
    assert lowered['train_dataloader']['prefetch_factor'] == 4
    assert lowered['val_dataloader']['batch_size'] == 3
    assert lowered['val_dataloader']['num_workers'] == 1
    assert lowered['test_dataloader']['batch_size'] == 1


def test_video_configs_evaluate_whole_batches():
    data = dict(videos_per_gpu=6, train=dict(type='D'), val=dict(type='D'))
    lowered = lower(make_config(data=None) | dict(data=data))
    assert lowered['train_dataloader']['batch_size'] == lowered['val_dataloader']['batch_size'] == 6


def test_lists_of_data_sets_and_of_annotation_files_are_concatenated():
    train = [dict(type='A'), dict(type='B', ann_file=['x', 'y'], img_prefix=['i', 'j'])]
    dataset = lower(make_config(data=dict(train=train)))['train_dataloader']['dataset']
    assert dataset == dict(
        type='ConcatDataset',
        datasets=[
            dict(type='A'),
            dict(
                type='ConcatDataset',
                datasets=[
                    dict(type='B', ann_file='x', img_prefix='i'),
                    dict(type='B', ann_file='y', img_prefix='j'),
                ],
            ),
        ],
    )


def test_wrappers_are_kept_and_entered():
    val = dict(type='RepeatDataset', times=2, dataset=dict(type='A', img_dir=['x', 'y'], ann_dir='z'))
    dataset = lower(make_config(data=dict(val=val)))['val_dataloader']['dataset']
    assert dataset['type'] == 'RepeatDataset'
    assert dataset['times'] == 2
    assert dataset['dataset']['datasets'] == [
        dict(type='A', img_dir='x', ann_dir='z', test_mode=True),
        dict(type='A', img_dir='y', ann_dir='z', test_mode=True),
    ]


def test_a_list_inside_a_wrapper_is_concatenated():
    train = dict(type='RepeatDataset', times=2, dataset=[dict(type='A'), dict(type='B')])
    dataset = lower(make_config(data=dict(train=train)))['train_dataloader']['dataset']
    assert dataset['dataset'] == dict(type='ConcatDataset', datasets=[dict(type='A'), dict(type='B')])


def test_the_test_batch_size_may_stand_in_the_data_set():
    lowered = lower(make_config(data=dict(test=dict(type='D', samples_per_gpu=5))))
    assert lowered['test_dataloader']['batch_size'] == 5
    assert lowered['test_dataloader']['dataset'] == dict(type='D', test_mode=True)


def test_without_a_validation_set_there_is_no_validation():
    lowered = lower(make_config(data=dict(val=None)))
    assert not {'val_dataloader', 'val_cfg', 'val_evaluator'} & set(lowered)
    assert lowered['train_cfg'] == dict(type='IterBasedTrainLoop', max_iters=100)


def test_a_config_that_only_tests_has_no_training():
    lowered = lower(dict(model=dict(type='Net'), data=dict(test=dict(type='D')), evaluation=dict(metric='mAP')))
    assert {'test_dataloader', 'test_cfg', 'test_evaluator'} <= set(lowered)
    assert not {'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'default_hooks'} & set(lowered)


# --- optimizer step ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        (dict(fp16=dict()), dict(type='AmpOptimWrapper', dtype='float16', loss_scale=512.0)),
        (dict(fp16=dict(loss_scale=128.0)), dict(dtype='float16', loss_scale=128.0)),
        (dict(fp16=dict(loss_scale='dynamic')), dict(dtype='float16', loss_scale='dynamic')),
        (dict(fp16=dict(loss_scale=dict(init_scale=8.0))), dict(loss_scale=dict(init_scale=8.0))),
        (dict(bf16=dict()), dict(type='AmpOptimWrapper', dtype='bfloat16')),
        (
            dict(optimizer_config=dict(type='Fp16OptimizerHook', loss_scale=64.0, distributed=False)),
            dict(type='AmpOptimWrapper', loss_scale=64.0),
        ),
        (
            dict(optimizer_config=dict(type='GradientCumulativeFp16OptimizerHook', cumulative_iters=3)),
            dict(type='AmpOptimWrapper', accumulative_counts=3, loss_scale=512.0),
        ),
        (
            dict(optimizer_config=dict(type='GradientCumulativeOptimizerHook', cumulative_iters=3)),
            dict(type='OptimWrapper', accumulative_counts=3),
        ),
        (dict(runner=dict(accumulative_counts=2)), dict(accumulative_counts=2)),
        (
            dict(optimizer_config=dict(grad_clip=dict(max_norm=35, norm_type=2))),
            dict(clip_grad=dict(max_norm=35, norm_type=2)),
        ),
        (
            dict(optimizer=dict(constructor='LayerDecayOptimizerConstructor', paramwise_cfg=dict(num_layers=3))),
            dict(constructor='LayerDecayOptimWrapperConstructor', paramwise_cfg=dict(num_layers=3)),
        ),
        (dict(optimizer=dict(constructor='TheirConstructor')), dict(constructor='TheirConstructor')),
    ],
)
def test_the_optimizer_step(changes, expected):
    wrapper = lower(make_config(**changes))['optim_wrapper']
    assert {key: wrapper[key] for key in expected} == expected
    assert 'constructor' not in wrapper['optimizer']


def test_bf16_needs_no_loss_scale():
    assert 'loss_scale' not in lower(make_config(bf16=dict()))['optim_wrapper']


# --- schedules ------------------------------------------------------------------------------------------------------


def test_older_configs_give_their_length_at_the_top():
    assert lower(make_epoch_config(runner=None, total_epochs=7))['train_cfg']['max_epochs'] == 7
    assert lower(make_config(runner=None, total_iters=7))['train_cfg']['max_iters'] == 7


def test_momentum_has_a_scheduler_of_its_own():
    momentum = dict(policy='cyclic', target_ratio=(0.85 / 0.95, 1), cyclic_times=1, step_ratio_up=0.4)
    schedulers = lower(make_config(momentum_config=momentum))['param_scheduler']
    assert [item['type'] for item in schedulers] == ['ClosedFormLR', 'ClosedFormMomentum']
    assert schedulers[1] | momentum | dict(policy='Cyclic') == schedulers[1]
    assert schedulers[1]['by_epoch'] is False


def test_without_lr_config_the_learning_rate_stays():
    assert lower(make_config(lr_config=None))['param_scheduler'] == []


# --- evaluation, checkpoints, logs ------------------------------------------------------------------------------------


def test_a_metric_dict_is_a_metric_of_the_registry():
    lowered = lower(make_config(evaluation=dict(metric=[dict(type='BEVIoU'), dict(type='Other', a=1)])))
    metrics = [dict(type='BEVIoU'), dict(type='Other', a=1)]
    assert lowered['val_evaluator'] == lowered['test_evaluator'] == dict(type='Evaluator', metrics=metrics)


def test_other_keys_of_a_string_metric_go_to_the_data_set():
    section = dict(metric=['bbox', 'segm'], classwise=True, pre_eval=True, gpu_collect=True)
    metrics = lower(make_config(evaluation=section))['val_evaluator']['metrics']
    assert metrics == [dict(type='DatasetEvaluateMetric', metric=['bbox', 'segm'], classwise=True)]


def test_when_it_is_evaluated():
    section = dict(interval=5, start=3, dynamic_intervals=[(90, 1)], at_end=False)
    train_cfg = lower(make_config(evaluation=section))['train_cfg']
    expected = dict(val_interval=5, val_start=3, dynamic_intervals=[(90, 1)], val_at_end=False)
    assert train_cfg | expected == train_cfg


def test_without_an_evaluation_section_an_iteration_based_run_evaluates_at_its_end():
    assert lower(make_config(evaluation=None))['train_cfg']['val_interval'] == 100
    assert lower(make_epoch_config(evaluation=None))['train_cfg']['val_interval'] == 1


@pytest.mark.parametrize(
    ('key', 'rule'),
    [('mIoU', 'greater'), ('bbox_mAP', 'greater'), ('top1_acc', 'greater'), ('val_loss', 'less'), ('auto', None)],
)
def test_the_rule_of_the_best_checkpoint_follows_the_name(key, rule):
    hook = lower(make_config(evaluation=dict(save_best=key)))['default_hooks']['checkpoint']
    assert (hook['save_best'], hook['rule']) == (key, rule)


LIBRARIES = {
    'greater': """AP AP_rgb AP50 Total~AP AR@100 PCK PCKh Mean~PCK tPCK 3DPCK PCK@0.05 AUC 3DAUC pcp mAP mAP@0.5IOU
        bbox_mAP_50 segm_mAP PQ mIoU mDice mFscore aAcc IoU.car top1_acc mean_class_accuracy accuracy_top-1 f1_score
        CF1 recall 0_hmean-iou:hmean 0_word_acc_ignore_case 1-N.E.D MOTA IDF1 HOTA success norm_precision eao track_AP
        PSNR SSIM pts_bbox_NuScenes/NDS Handedness_acc""",
    'less': 'NME EPE MPJPE P-MPJPE MPJPE_all MRRPE loss_cls IDs IDSw robustness N.E.D MAE MSE SAD FID NIQE mATE mAVE',
    None: 'speed time score this gap fps',
}


@pytest.mark.parametrize(('rule', 'names'), LIBRARIES.items())
def test_the_metrics_of_the_libraries_of_mmcv_1_are_known(rule, names):
    names = [name.replace('~', ' ') for name in names.split()]
    assert {name: score_rule(name) for name in names} == dict.fromkeys(names, rule)


def test_key_lists_of_the_config_decide_the_rule():
    assert best_rule(dict(save_best='score', greater_keys=['score'])) == 'greater'
    assert best_rule(dict(save_best='error_rate', less_keys=['error'])) == 'less'


def test_checkpoint_keys_are_kept():
    section = dict(interval=5, max_keep_ckpts=3, save_last=False, save_optimizer=False, filename_tmpl='w_{}.pth')
    hook = lower(make_config(checkpoint_config=section | dict(create_symlink=False)))['default_hooks']['checkpoint']
    assert hook | section == hook
    assert 'create_symlink' not in hook


def test_without_checkpoint_config_only_the_best_is_kept():
    lowered = lower(make_config(checkpoint_config=None, evaluation=dict(save_best='mIoU')))
    hook = lowered['default_hooks']['checkpoint']
    assert (hook['interval'], hook['save_last'], hook['save_best']) == (-1, False, 'mIoU')


def test_logger_hooks_become_backends():
    hooks = [
        dict(type='TextLoggerHook', by_epoch=False, ignore_last=False),
        dict(type='TensorboardLoggerHook', log_dir='tb'),
        dict(type='WandbLoggerHook', init_kwargs=dict(project='p')),
        dict(type='MlflowLoggerHook', exp_name='e'),
    ]
    lowered = lower(make_config(log_config=dict(interval=20, hooks=hooks)))
    assert lowered['visualizer']['vis_backends'] == [
        dict(type='LocalVisBackend'),
        dict(type='TensorboardVisBackend', save_dir='tb'),
        dict(type='WandbVisBackend', init_kwargs=dict(project='p')),
        dict(type='MLflowVisBackend', exp_name='e'),
    ]
    assert lowered['log_processor']['window_size'] == lowered['default_hooks']['logger']['interval'] == 20
    assert lowered['default_hooks']['logger']['ignore_last'] is False


def test_custom_hooks_keep_their_priority_and_built_in_ones_vanish():
    hooks = [
        dict(type='NumClassCheckHook'),
        dict(type='DistSamplerSeedHook'),
        dict(type='ExpMomentumEMAHook', momentum=0.001, total_iter=50, priority=49),
    ]
    assert lower(make_config(custom_hooks=hooks))['custom_hooks'] == [
        dict(type='NumClassCheckHook'),
        dict(
            type='EMAHook',
            momentum=0.001,
            interval=1,
            ema_type='ExpWarmupEMA',
            warm_up=50,
            update_buffers=True,
            first_update=0,
            priority=49,
        ),
    ]


def test_mmengines_own_ema_hook_passes_through():
    hook = dict(type='EMAHook', ema_type='StochasticWeightAverage', begin_epoch=3)
    assert lower(make_config(custom_hooks=[hook]))['custom_hooks'] == [hook]


def test_buffers_are_synchronized_by_a_hook():
    lowered = lower(make_config(checkpoint_config=dict(sync_buffer=True)))
    assert lowered['custom_hooks'] == [dict(type='SyncBuffersHook')]


# --- runtime ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (dict(load_from='a.pth'), dict(load_from='a.pth', resume=False)),
        (dict(load_from='a.pth', resume_from='b.pth'), dict(load_from='b.pth', resume=True)),
        (dict(auto_resume=True), dict(load_from=None, resume=True)),
        (dict(auto_resume=True, load_from='a'), dict(load_from='a', resume=False, auto_resume=True)),
        (dict(auto_resume=True, resume_from='b'), dict(load_from='b', resume=True)),
    ],
)
def test_what_is_loaded(given, expected):
    lowered = lower(make_config(**given))
    assert {key: lowered.get(key) for key in ('load_from', 'resume', 'auto_resume')} == {'auto_resume': None} | expected


def test_environment_seeds_and_distribution():
    lowered = lower(
        make_config(
            cudnn_benchmark=True,
            opencv_num_threads=4,
            mp_start_method='spawn',
            dist_params=dict(backend='gloo', port=29515),
            seed=1,
            deterministic=True,
            find_unused_parameters=True,
            auto_scale_lr=dict(enable=False, base_batch_size=16),
            custom_imports=dict(imports=['x']),
        )
    )
    assert lowered['env_cfg'] == dict(
        cudnn_benchmark=True,
        mp_cfg=dict(mp_start_method='spawn', opencv_num_threads=4),
        dist_cfg=dict(backend='gloo', port=29515),
    )
    assert lowered['randomness'] == dict(seed=1, deterministic=True)
    assert lowered['model_wrapper_cfg']['find_unused_parameters'] is True
    assert lowered['auto_scale_lr'] == dict(enable=False, base_batch_size=16)
    assert lowered['custom_imports'] == dict(imports=['x'])


def test_outer_train_and_test_settings_move_into_the_model():
    model = lower(make_config(train_cfg=dict(a=1), test_cfg=dict(b=2)))['model']
    assert model == dict(type='Net', train_cfg=dict(a=1), test_cfg=dict(b=2))


def test_variables_and_sections_of_mmopt_are_carried_over():
    lowered = lower(make_config(img_norm_cfg=dict(mean=[1]), optimize=dict(micro_batch=2), data_root='data/x'))
    assert lowered['img_norm_cfg'] == dict(mean=[1])
    assert lowered['optimize'] == dict(micro_batch=2)
    assert lowered['data_root'] == 'data/x'


def test_a_training_phase_of_any_length_is_accepted():
    assert lower(make_config(workflow=[('train', 5)])) == lower(make_config())


# --- the base configs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('runtime', ['default_runtime', 'default_runtime_fp16', 'default_runtime_bf16'])
def test_the_base_configs_lower(runtime):
    cfg = make_config(optimizer=None, runner=None, evaluation=None, lr_config=None, checkpoint_config=None)
    for name in (f'{runtime}.py', 'schedules/schedule_200k_nuscenes.py'):
        cfg |= Config.fromfile(CONFIGS / '_base_' / name).to_dict()
    lowered = lower(cfg)
    assert lowered['train_cfg']['max_iters'] == 200000
    assert lowered['optim_wrapper']['optimizer']['lr'] == 2e-4
    expected = dict(
        default_runtime=None, default_runtime_fp16=('float16', 512.0), default_runtime_bf16=('bfloat16', None)
    )[runtime]
    wrapper = lowered['optim_wrapper']
    assert (wrapper['dtype'], wrapper.get('loss_scale')) == expected if expected else 'dtype' not in wrapper


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(data=dict(samples_per_gpus=4)), r'^data\.samples_per_gpus is unknown; did you mean samples_per_gpu\?$'),
        (
            dict(optimzer_config=dict()) | dict(optimizer_config=None),
            r'^optimzer_config is unknown; did you mean optimizer_config\?$',
        ),
        (dict(data=dict(batch_size=2)), 'data.batch_size is MMEngine wording; write samples_per_gpu'),
        (dict(data=dict(samples_per_gpu=0)), 'data.samples_per_gpu must be a positive whole number, got 0'),
        (dict(data=dict(videos_per_gpu=2)), 'data gives the batch size twice'),
        (dict(data=dict(workers_per_gpu=-1)), 'data.workers_per_gpu must be a whole number, at least 0'),
        (dict(data=dict(cache='memory')), "data.cache must be 'disk' or 'ram', got 'memory'"),
        (dict(data=dict(train=[])), 'data.train is an empty list'),
        (dict(data=dict(train=dict(root='x'))), 'data.train must be a dict with a type'),
        (dict(data=dict(train=dict(type='C', datasets=3))), r'data.train.datasets must be a list, got 3'),
        (dict(data=dict(train=None)), 'no data.train'),
        (dict(data=dict(train=dict(type='A', ann_file=['a', 'b'], img_prefix=['i']))), 'unequal length'),
        (dict(data=dict(val_dataloader=dict(shuffle=True))), 'must not depend on the order'),
        (dict(data=dict(train_ratio=[1, 2])), 'data.train_ratio belongs to OmniSource'),
        (dict(optimizer=dict(weight_decy=0.1)), 'optimizer.weight_decy is unknown; did you mean weight_decay?'),
        (dict(optimizer=dict(clip_grad=1)), r'optimizer_config=dict\(grad_clip=dict\(max_norm'),
        (
            dict(optimizer=dict(paramwise_cfg=dict(norm_decay=0))),
            'paramwise_cfg.norm_decay is unknown; did you mean norm_decay_mult',
        ),
        (
            dict(optimizer=dict(paramwise_cfg=dict(custom_keys={'a': dict(lr_mul=0.1)}))),
            r"did you mean lr_mult\? \(in the entry 'a'\)",
        ),
        (
            dict(optimizer=dict(weight_decay=None, paramwise_cfg=dict(norm_decay_mult=0.0))),
            'optimizer.weight_decay is not set',
        ),
        (dict(optimizer_config=dict(grad_clip=dict(max_nrm=1))), 'grad_clip.max_nrm is unknown; did you mean max_norm'),
        (
            dict(optimizer_config=dict(type='DistOptimizerHook')),
            "optimizer_config.type='DistOptimizerHook' is not known",
        ),
        (dict(optimizer_config=dict(cumulative_iters=2)), 'cumulative_iters has no effect in OptimizerHook'),
        (dict(optimizer_config=dict(loss_scale=2.0)), 'loss_scale has no effect in OptimizerHook'),
        (dict(optimizer_config=dict(detect_anomalous_params=True)), 'detect_anomalous_params: there is no counterpart'),
        (
            dict(
                optimizer_config=dict(type='GradientCumulativeOptimizerHook', cumulative_iters=2),
                runner=dict(accumulative_counts=3),
            ),
            'Two different accumulation counts',
        ),
        (dict(runner=dict(accumulative_counts=0)), 'accumulative_counts must be a positive whole number, got 0'),
        (dict(fp16=dict(loss_scale=512)), r"a float, 'dynamic' or a dict, got 512; write 512\.0"),
        (dict(fp16=dict(loss_scal=1.0)), 'fp16.loss_scal is unknown; did you mean loss_scale'),
        (dict(fp16=dict(), bf16=dict()), 'Both fp16 and bf16 are set'),
        (dict(bf16=dict(loss_scale=1.0)), 'bf16.loss_scale is unknown; bf16 takes no keys'),
        (dict(lr_config=dict(policy='polly')), "lr_config.policy='polly' is unknown; did you mean Poly"),
        (dict(lr_config=dict(warmpu='linear')), 'lr_config.warmpu is unknown; did you mean warmup'),
        (dict(lr_config=dict(milestones=[1])), 'lr_config.milestones is MMEngine wording; write step'),
        (dict(lr_config=dict(by_epoch=True)), 'MMCV never ends an epoch there, so the learning rate would stay'),
        (dict(momentum_config=dict(policy='step', step=[1])), 'so the momentum would stay'),
        (dict(momentum_config=dict(policy='poly')), "momentum_config.policy='poly' is unknown"),
        (dict(momentum_config=dict(policy='cyclic', by_epoch=True)), 'Cyclic runs by iteration only'),
        (
            dict(lr_config=dict(warmup='linear', warmup_iters=1, warmup_by_epoch=True)),
            'warmup_by_epoch=True with IterBasedRunner: there are no epochs',
        ),
        (dict(lr_config=dict(warmup='linear')), 'warmup_iters must be positive'),
        (dict(lr_config=dict(warmup='slow', warmup_iters=1)), "warmup='slow' is unknown"),
        (
            dict(lr_config=dict(warmup='exp', warmup_iters=1, warmup_ratio=0)),
            r'warmup_ratio must be in \(0, 1\], got 0',
        ),
        (dict(lr_config=dict(step=[1])), r'lr_config.step does not belong to policy Poly but to Step; .*_delete_=True'),
        (dict(lr_config=[1]), 'lr_config must be a dict with a policy'),
        (dict(runner=dict(type='DynamicRunner')), "runner.type='DynamicRunner' is not known"),
        (
            dict(runner=dict(max_epochs=3)),
            r'runner.max_epochs=3 does not belong to IterBasedRunner, which takes max_iters',
        ),
        (dict(runner=dict(max_iters=None)), 'runner.max_iters is missing'),
        (dict(runner=dict(max_iter=3)), 'runner.max_iter is unknown; did you mean max_iters'),
        (dict(runner=dict(max_iters=2.5)), 'runner.max_iters must be a positive whole number, got 2.5'),
        (dict(total_iters=7), 'total_iters=7 and runner.max_iters=100 differ'),
        (dict(runner=None), 'has an optimizer but no length'),
        (dict(runner=None, total_iters=1, total_epochs=1), 'Both total_epochs and total_iters'),
        (dict(evaluation=dict(intervall=1)), 'evaluation.intervall is unknown; did you mean interval'),
        (dict(evaluation=dict(interval=0)), 'evaluation.interval must be a positive whole number, got 0'),
        (dict(evaluation=dict(start=-1)), 'evaluation.start must not be negative'),
        (dict(evaluation=dict(by_epoch=True)), 'give evaluation.interval in iterations and drop by_epoch'),
        (dict(evaluation=dict(dynamic_intervals=[3])), r'\(from, interval\) pairs'),
        (dict(evaluation=dict(save_best='speed')), 'does not tell whether higher is better'),
        (dict(evaluation=dict(save_best=['mIoU'])), 'the name of a metric'),
        (dict(evaluation=dict(save_best='x', rule='max')), "rule='max': write 'greater' or 'less'"),
        (dict(evaluation=dict(save_best='mIoU'), data=dict(val=None)), 'save_best needs data.val'),
        (dict(evaluation=dict(metric=[dict(type='A'), 'mIoU'])), "mixes metric dicts with 'mIoU'"),
        (dict(evaluation=dict(metric=dict(type='A'), classwise=True)), 'classwise has no effect beside a metric dict'),
        (dict(checkpoint_config=dict(by_epoch=True)), 'would save nothing'),
        (dict(checkpoint_config=dict(type='Mine')), "checkpoint_config.type must be 'CheckpointHook', got 'Mine'"),
        (
            dict(checkpoint_config=dict(max_keep=3)),
            'checkpoint_config.max_keep is unknown; did you mean max_keep_ckpts',
        ),
        (dict(checkpoint_config=dict(file_client_args=dict(backend='petrel'))), 'a local disk only'),
        (dict(log_config=dict(hooks=[dict(type='PaviLoggerHook')])), 'Pavi is an internal service'),
        (dict(log_config=dict(hooks=[dict(type='Mine')])), "'Mine' has no counterpart: known: TextLoggerHook"),
        (
            dict(log_config=dict(hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook', interval=3)])),
            r'different intervals \(\[3, 50\]\)',
        ),
        (dict(log_config=dict(interval=0)), 'log_config.interval must be a positive whole number, got 0'),
        (dict(custom_hooks=dict(type='EMAHook')), 'custom_hooks must be a list of dicts, got dict'),
        (dict(custom_hooks=[dict(kind='EMAHook')]), 'custom_hooks.0 must be a dict with a type'),
        (dict(custom_hooks=[dict(type='Fp16OptimizerHook')]), r'write fp16=dict\(loss_scale=512.\)'),
        (
            dict(custom_hooks=[dict(type='EMAHook', warmup=3)]),
            'custom_hooks.0.EMAHook.warmup is unknown; did you mean warm_up',
        ),
        (dict(custom_hooks=[dict(type='EMAHook', resume_from='x')]), 'at the top level instead'),
        (dict(workflow=[('train', 1), ('val', 1)]), "workflow has a 'val' phase"),
        (dict(workflow=['train']), r'a list of \(phase, count\) pairs'),
        (dict(train_cfg=dict(a=1), model=dict(train_cfg=dict(b=1))), 'at the top level and in model.train_cfg'),
        (dict(dist_params=dict(backnd='nccl')), 'dist_params.backnd is unknown; did you mean backend'),
        (dict(omnisource=True), 'omnisource: OmniSource trains on several loaders'),
        (dict(precise_bn=dict(interval=1)), 'precise_bn: precise BatchNorm statistics'),
        (dict(optim_wrapper=dict()), r'mixes MMEngine sections \(optim_wrapper\) with MMCV-1.x sections'),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_remedy(changes, message):
    cfg = make_config(**changes)
    with pytest.raises(ConfigError, match=message):
        lower(cfg)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(runner=dict(max_iters=300)),
            r"EpochBasedRunner, which takes max_epochs; write max_epochs, or type='IterBa",
        ),
        (dict(evaluation=dict(by_epoch=False)), 'give evaluation.interval in epochs'),
        (dict(lr_config=dict(policy='CosineAnnealing')), 'lr_config.step does not belong to policy CosineAnnealing'),
        (
            dict(lr_config=None) | dict(momentum_config=dict(policy='CosineAnnealing')),
            'exactly one of min_momentum and',
        ),
    ],
)
def test_what_an_epoch_based_run_cannot_do_is_refused(changes, message):
    cfg = make_epoch_config(**changes)
    with pytest.raises(ConfigError, match=message):
        lower(cfg)


NATIVE = dict(
    model=dict(type='Net'),
    train_dataloader=dict(batch_size=2, dataset=dict(type='Data')),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
    train_cfg=dict(by_epoch=True, max_epochs=1),
)


@pytest.mark.parametrize(
    'variables',
    [
        dict(optimizer=dict(type='SGD', lr=0.01)),
        dict(optimizer=dict(type='SGD'), lr_config=dict(policy='poly'), total_epochs=3, seed=1, evaluation=dict()),
        dict(runner=3, fp16=None, checkpoint_config=dict(interval=1), data=dict(root='x')),
    ],
)
def test_beside_a_loader_of_mmengine_the_names_of_mmcv_are_variables(variables):
    """As in every schedule of MMSegmentation 1.x: its sections are made of them, and decide."""
    cfg = NATIVE | variables
    assert is_native(cfg)
    assert lower(cfg) == cfg


def test_data_in_both_styles_is_refused():
    with pytest.raises(ConfigError, match='mixes MMEngine sections'):
        lower(NATIVE | dict(data=dict(train=dict(type='Data'))))


# --- variables that are called like sections --------------------------------------------------------------------------
def test_variables_that_are_called_like_sections_are_variables():
    names = dict(total_epoch=24, total_iter=1000, dataroot='data', workdir='work', work_dirs='work', phase=1, Seed=3)
    names |= dict(train_config=dict(a=1), custom_hook=dict(a=1), optimizer_1=dict(a=1), lr_cfg=dict(peak=0.1))
    cfg = make_config(**names)
    assert {key: lower(cfg)[key] for key in names} == names
    assert set(lookalikes(cfg)) == set(names) - {'optimizer_1', 'lr_cfg'}  # they stand beside the section itself
    assert lookalikes(make_config()) == {}


@pytest.mark.parametrize(
    ('name', 'value', 'section'),
    [
        ('optimzer_confg', {}, 'optimizer_config'),
        ('momentum_confg', {}, 'momentum_config'),
        ('load_form', 'x.pth', 'load_from'),
        ('momentum_cfg', dict(policy='cyclic'), 'momentum_config'),
        ('momentum_configs', dict(policy='cyclic', cyclic_times=2), 'momentum_config'),
    ],
)
def test_a_slip_of_a_section_and_a_section_under_a_variables_name_are_refused(name, value, section):
    cfg = make_config(optimizer_config=None) | {name: value}
    with pytest.raises(ConfigError, match=rf'^{name} is unknown; did you mean {section}\?$'):
        lower(cfg)


@pytest.mark.parametrize(
    'key', ['shuffler_sampler', 'nonshuffler_sampler', 'sampler', 'samples_per_epoch', 'replace', 'extract']
)
def test_keys_of_a_librarys_own_sampler_are_named_as_such(key):
    with pytest.raises(ConfigError, match=rf'^data\.{key} is .*own (sampler|hooks).* drop the key'):
        lower(make_config(data={key: dict(type='DistributedGroupSampler')}))
