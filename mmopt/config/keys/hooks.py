"""The keys of `checkpoint_config`, `evaluation`, `log_config` with its hooks, and of the EMA hooks."""

from mmopt.config.keys.section import Key, Section
from mmopt.config.values import (
    ANY,
    COUNT,
    DICT,
    DICTS,
    LIST,
    NUMBER,
    SCORE_NAME,
    SWITCH,
    TEXT,
    TEXT_OR_LIST,
    TEXTS,
    WHOLE,
    choice,
)

__all__ = ['BACKENDS', 'BUILT_IN_HOOKS', 'REFUSED_HOOKS', 'REFUSED_LOGGERS', 'SECTIONS']

_EVALUATOR = ('val_evaluator.metrics', 'test_evaluator.metrics')


def _argument(key: str, meaning: str) -> Key:
    return Key(ANY, tuple(f'{place}.{key}' for place in _EVALUATOR), meaning)


_RULE = ('default_hooks.checkpoint.rule',)
_EVALUATION = Section(
    {
        'interval': Key(
            WHOLE,
            'train_cfg.val_interval',
            'Evaluate every so many epochs or iterations, whichever the run counts. Without the section an '
            'iteration-based run is evaluated once, at its end.',
        ),
        'start': Key(WHOLE, 'train_cfg.val_start', 'The first evaluation.'),
        'dynamic_intervals': Key(
            LIST, 'train_cfg.dynamic_intervals', '`[(from, interval), ...]`: other intervals later in the run.'
        ),
        'at_end': Key(SWITCH, 'train_cfg.val_at_end', "Evaluate after the last step too (True). mmopt's addition."),
        'by_epoch': Key(SWITCH, dropped="evaluations count in the runner's unit; the other one is refused"),
        'metric': _argument(
            'metric',
            "A text or a list of them: for the data set's own `evaluate(results, metric=...)`. A dict with a type or a "
            "list of them, mmopt's addition: metrics of the registry, in the place of `DatasetEvaluateMetric`.",
        ),
        'metrics': _argument('metrics', 'The same in old video configs.'),
        'metric_options': _argument('metric_options', "For the data set's `evaluate`."),
        'topk': _argument('topk', "For the data set's `evaluate`."),
        'classwise': _argument('classwise', "For the data set's `evaluate`."),
        'proposal_nums': _argument('proposal_nums', "For the data set's `evaluate`."),
        'iou_thrs': _argument('iou_thrs', "For the data set's `evaluate`."),
        'save_best': Key(
            SCORE_NAME, 'default_hooks.checkpoint.save_best', 'Keep the checkpoint that is best in this metric.'
        ),
        'rule': Key(TEXT, _RULE, "`'greater'` or `'less'` is better; by default the name tells."),
        'greater_keys': Key(TEXTS, _RULE, 'Parts of names of which more is better.'),
        'less_keys': Key(TEXTS, _RULE, 'Parts of names of which less is better.'),
        'gpu_collect': Key(SWITCH, dropped='what all processes found is gathered in memory'),
        'tmpdir': Key(TEXT, dropped='what all processes found is gathered in memory'),
        'broadcast_bn_buffer': Key(SWITCH, dropped="all processes always evaluate with rank 0's BatchNorm statistics"),
        'pre_eval': Key(
            ANY,
            dropped="a metric of the registry measures each batch at once, a data set's evaluate all predictions at "
            'the end',
        ),
        'efficient_test': Key(SWITCH, dropped='predictions are kept in memory, not in files'),
    },
    "All other keys go to the data set's `evaluate`.",
    is_open=True,
    foreign={
        'out_dir': 'is not available: best checkpoints lie with the others; write checkpoint_config=dict(out_dir=...)',
        'file_client_args': 'is not available: best checkpoints lie with the others, on a local disk; drop it',
        'val_interval': 'is MMEngine wording; write interval',
        'key_indicator': 'is the wording of older libraries; write save_best',
    },
)

_CHECKPOINT = Section(
    {
        'interval': Key(
            WHOLE, 'default_hooks.checkpoint.interval', 'Save every so many epochs or iterations; -1: never.'
        ),
        'by_epoch': Key(SWITCH, 'default_hooks.checkpoint.by_epoch', "What `interval` counts; the runner's unit."),
        'save_optimizer': Key(
            SWITCH, 'default_hooks.checkpoint.save_optimizer', 'With the state of the optimizer (True): to resume.'
        ),
        'out_dir': Key(TEXT, 'default_hooks.checkpoint.out_dir', 'Another folder than the work dir.'),
        'max_keep_ckpts': Key(
            WHOLE, 'default_hooks.checkpoint.max_keep_ckpts', 'Delete older ones beyond so many; -1: keep all.'
        ),
        'save_last': Key(SWITCH, 'default_hooks.checkpoint.save_last', 'Save after the last step too (True).'),
        'filename_tmpl': Key(
            TEXT, 'default_hooks.checkpoint.filename_tmpl', '`epoch_{}.pth` or `iter_{}.pth` unless given.'
        ),
        'background': Key(
            SWITCH,
            'default_hooks.checkpoint.background',
            "Write while the training goes on. mmopt's addition.",
        ),
        'sync_buffer': Key(SWITCH, 'custom_hooks.type', 'Average the buffers of all processes: `SyncBuffersHook`.'),
        'type': Key(choice('CheckpointHook'), dropped='there is no other hook'),
        'create_symlink': Key(SWITCH, dropped='the file `last_checkpoint` names the newest checkpoint'),
        'meta': Key(DICT, dropped='a checkpoint carries the config, the versions and the place in the run'),
        'file_client_args': Key(DICT, refused='checkpoints go to a local disk only; drop the key'),
    },
    'Without the section no numbered checkpoints are saved.',
    foreign={
        'save_best': 'belongs in evaluation=dict(save_best=...)',
        'rule': 'belongs in evaluation=dict(rule=...)',
    },
)

_INTERVAL = ('default_hooks.logger.interval', 'log_processor.window_size')
_TEXT_LOGGER = {
    'interval': Key(COUNT, _INTERVAL, 'As `log_config.interval`; all hooks must agree.'),
    'by_epoch': Key(SWITCH, 'log_processor.by_epoch', 'False: an epoch-based run is counted in iterations.'),
    'ignore_last': Key(SWITCH, 'default_hooks.logger.ignore_last', 'No line for the incomplete interval of an epoch.'),
    'interval_exp_name': Key(COUNT, 'default_hooks.logger.interval_exp_name', 'Name the run every so many iterations.'),
    'out_dir': Key(TEXT, 'default_hooks.logger.out_dir', 'Copy the logs there at the end.'),
    'out_suffix': Key(TEXT_OR_LIST, 'default_hooks.logger.out_suffix', 'The endings of the files to copy.'),
    'keep_local': Key(SWITCH, 'default_hooks.logger.keep_local', 'Keep what was copied (True).'),
    'file_client_args': Key(DICT, 'default_hooks.logger.file_client_args', 'How to reach `out_dir`.'),
    'reset_flag': Key(SWITCH, dropped='the averages begin anew after every line'),
}

_WITH_THE_LOG = 'curves get what the log line says, when it says it'
_CURVES = {
    'interval': _TEXT_LOGGER['interval'],
    'by_epoch': Key(SWITCH, dropped=_WITH_THE_LOG),
    'ignore_last': Key(SWITCH, dropped=_WITH_THE_LOG),
    'reset_flag': _TEXT_LOGGER['reset_flag'],
    'with_step': Key(SWITCH, dropped='every value is logged with its iteration or epoch'),
    'log_model': Key(ANY, dropped="MMEngine's backend uploads no models"),
    'log_artifact': Key(ANY, dropped="MMEngine's backend uploads no log files"),
    'out_suffix': Key(ANY, dropped="MMEngine's backend uploads no log files"),
}


def _backend(**own: tuple[str, str]) -> Section:
    keys = {key: Key(ANY, f'visualizer.vis_backends.{name}', meaning) for key, (name, meaning) in own.items()}
    return Section({**keys, **_CURVES})


_INIT = ('init_kwargs', "Arguments of the service's start.")
BACKENDS = {
    'TensorboardLoggerHook': 'TensorboardVisBackend',
    'WandbLoggerHook': 'WandbVisBackend',
    'MlflowLoggerHook': 'MLflowVisBackend',
    'NeptuneLoggerHook': 'NeptuneVisBackend',
    'ClearMLLoggerHook': 'ClearMLVisBackend',
    'DvcliveLoggerHook': 'DVCLiveVisBackend',
}
"""Logger hook of MMCV -> MMEngine's backend."""
REFUSED_LOGGERS = {
    'PaviLoggerHook': 'Pavi is an internal service; write TensorboardLoggerHook',
    'MMDetWandbHook': 'it uploads checkpoints and pictures with code of its library; write WandbLoggerHook for curves',
    'MMSegWandbHook': 'it uploads checkpoints and pictures with code of its library; write WandbLoggerHook for curves',
    'SegmindLoggerHook': 'Segmind has no MMEngine backend; write MlflowLoggerHook',
}
"""Logger hook without counterpart -> why, and what to write instead."""
BUILT_IN_HOOKS = {
    'DistSamplerSeedHook': 'the training loop tells the sampler its epoch',
    'IterTimerHook': 'the runner measures the time of every iteration',
    'TextLoggerHook': 'the log file is always written',
}
"""Custom hook that is dropped -> why."""
REFUSED_HOOKS = {
    'PreciseBNHook': 'it belongs to mmaction 0.x; drop it',
    'OptimizerHook': 'write optimizer_config=dict(...)',
    'Fp16OptimizerHook': 'write fp16=dict(loss_scale=512.)',
    'GradientCumulativeOptimizerHook': 'write runner=dict(accumulative_counts=...)',
    'GradientCumulativeFp16OptimizerHook': 'write runner=dict(accumulative_counts=...) and fp16=dict(...)',
    'EvalHook': 'write evaluation=dict(...)',
    'DistEvalHook': 'write evaluation=dict(...)',
}
"""Hook that a section of the config makes -> what to write instead."""

_EMA = {
    'momentum': Key(NUMBER, 'custom_hooks.momentum', 'The share of the new weights in each update.'),
    'interval': Key(COUNT, 'custom_hooks.interval', 'Update every so many iterations.'),
    'priority': Key(ANY, 'custom_hooks.priority', 'When it is called among the hooks.'),
    'resume_from': Key(TEXT, refused='write resume_from=... at the top level instead'),
}
_WARM_UP = Key(WHOLE, 'custom_hooks.warm_up', 'Updates during which the momentum still falls.')
_SKIP_BUFFERS = Key(SWITCH, 'custom_hooks.update_buffers', 'Average the parameters alone.')

SECTIONS = {
    'evaluation': _EVALUATION,
    'checkpoint_config': _CHECKPOINT,
    'log_config': Section(
        {
            'interval': Key(COUNT, _INTERVAL, 'A line every so many iterations, with averages over them (10).'),
            'hooks': Key(DICTS, ('default_hooks.logger', 'visualizer.vis_backends'), 'The logger hooks below.'),
        }
    ),
    'log_config.hooks.TextLoggerHook': Section(_TEXT_LOGGER),
    'log_config.hooks.TensorboardLoggerHook': _backend(log_dir=('save_dir', 'The folder.')),
    'log_config.hooks.WandbLoggerHook': _backend(
        init_kwargs=_INIT,
        define_metric_cfg=('define_metric_cfg', 'Metric -> how to summarize it.'),
        commit=('commit', 'False: send with the next call.'),
    ),
    'log_config.hooks.MlflowLoggerHook': _backend(
        exp_name=('exp_name', 'The experiment.'), tags=('tags', 'Its tags.'), params=('params', 'Its parameters.')
    ),
    'log_config.hooks.NeptuneLoggerHook': _backend(init_kwargs=_INIT),
    'log_config.hooks.ClearMLLoggerHook': _backend(init_kwargs=_INIT),
    'log_config.hooks.DvcliveLoggerHook': _backend(save_dir=('save_dir', 'The folder.')),
    # MMCV's averages parameters only, MMDetection's average buffers too unless told not to.
    'custom_hooks.EMAHook': Section(_EMA | {'warm_up': _WARM_UP}),
    'custom_hooks.LinearMomentumEMAHook': Section(_EMA | {'warm_up': _WARM_UP, 'skip_buffers': _SKIP_BUFFERS}),
    'custom_hooks.ExpMomentumEMAHook': Section(_EMA | {'total_iter': _WARM_UP, 'skip_buffers': _SKIP_BUFFERS}),
}
