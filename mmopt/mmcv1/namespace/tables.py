"""Which name of mmcv 1.x is what today: one table per family of modules, and which modules there were.

A name is looked up in the family of its module whatever the submodule: ``mmcv.runner.base_module.BaseModule`` and
``mmcv.runner.BaseModule`` are one. Names that the installed mmcv has under the same path are not here. Targets are
``module:attribute``, imported when they are asked for.
"""

from collections.abc import Mapping

from mmopt.mmcv1.namespace.table_of_utils import UTILS, same

__all__ = ['PATCHED', 'TABLES', 'families_of', 'is_package']

_STANDINS = 'mmopt.mmcv1.standins'


_WEIGHTS = {
    **same(
        'mmengine.model',
        'constant_init xavier_init normal_init uniform_init kaiming_init caffe2_xavier_init trunc_normal_init '
        'bias_init_with_prob initialize ConstantInit XavierInit NormalInit TruncNormalInit UniformInit KaimingInit '
        'Caffe2XavierInit PretrainedInit update_init_info',
    ),
    'trunc_normal_': 'mmengine.model.weight_init:trunc_normal_',
    'INITIALIZERS': 'mmengine.registry:WEIGHT_INITIALIZERS',
}

_CNN_REGISTRIES = (
    'CONV_LAYERS NORM_LAYERS ACTIVATION_LAYERS PADDING_LAYERS UPSAMPLE_LAYERS PLUGIN_LAYERS DROPOUT_LAYERS '
    'POSITIONAL_ENCODING ATTENTION FEEDFORWARD_NETWORK TRANSFORMER_LAYER TRANSFORMER_LAYER_SEQUENCE'
)
_CNN = {
    **_WEIGHTS,
    **same(f'{_STANDINS}.layers', f'{_CNN_REGISTRIES} MODELS build_model_from_cfg'),
    'revert_sync_batchnorm': 'mmengine.model:revert_sync_batchnorm',
    'get_model_complexity_info': 'mmcv.cnn.utils:get_model_complexity_info',
    'MultiScaleDeformableAttention': 'mmcv.ops.multi_scale_deform_attn:MultiScaleDeformableAttention',
    **same(
        'mmcv.cnn.bricks.transformer',
        'FFN MultiheadAttention BaseTransformerLayer TransformerLayerSequence build_attention build_dropout '
        'build_feedforward_network build_positional_encoding build_transformer_layer build_transformer_layer_sequence',
    ),
}

_RUNNER = {
    **same('mmengine.model', 'BaseModule ModuleDict ModuleList Sequential'),
    **same(
        f'{_STANDINS}.checkpoints',
        'load_checkpoint _load_checkpoint _load_checkpoint_with_prefix save_checkpoint load_state_dict '
        'get_state_dict weights_to_cpu',
    ),
    **same('mmengine.runner.checkpoint', 'CheckpointLoader load_from_http load_from_local load_from_openmmlab'),
    **same('mmengine.runner', 'set_random_seed Priority get_priority find_latest_checkpoint'),
    **same('mmengine.dist', 'get_dist_info master_only init_dist all_reduce'),
    **same(f'{_STANDINS}.distributed', 'allreduce_grads allreduce_params'),
    **same(f'{_STANDINS}.precision', 'auto_fp16 force_fp32 wrap_fp16_model patch_norm_fp32 patch_forward_method'),
    **same(
        f'{_STANDINS}.runners',
        'BaseRunner EpochBasedRunner IterBasedRunner Runner RUNNERS RUNNER_BUILDERS build_runner LogBuffer IterLoader '
        'DefaultRunnerConstructor get_host_info get_time_str obj_from_dict',
    ),
    **same(
        f'{_STANDINS}.optimizers',
        'OPTIMIZERS OPTIMIZER_BUILDERS build_optimizer build_optimizer_constructor DefaultOptimizerConstructor',
    ),
    **same(
        f'{_STANDINS}.hooks',
        'HOOKS Hook OptimizerHook Fp16OptimizerHook GradientCumulativeOptimizerHook '
        'GradientCumulativeFp16OptimizerHook DistSamplerSeedHook IterTimerHook SyncBuffersHook EMAHook CheckpointHook '
        'EvalHook DistEvalHook LoggerHook TextLoggerHook TensorboardLoggerHook WandbLoggerHook MlflowLoggerHook '
        'NeptuneLoggerHook PaviLoggerHook DvcliveLoggerHook ProfilerHook ClosureHook EarlyStoppingHook',
    ),
    **same(
        f'{_STANDINS}.lr_hooks',
        'LrUpdaterHook FixedLrUpdaterHook StepLrUpdaterHook ExpLrUpdaterHook PolyLrUpdaterHook InvLrUpdaterHook '
        'CosineAnnealingLrUpdaterHook FlatCosineAnnealingLrUpdaterHook CosineRestartLrUpdaterHook annealing_cos '
        'annealing_linear MomentumUpdaterHook format_param',
    ),
}

_PARALLEL = {
    'DataContainer': f'{_STANDINS}.containers:DataContainer',
    'assert_tensor_type': f'{_STANDINS}.containers:assert_tensor_type',
    **same(f'{_STANDINS}.collate', 'collate scatter scatter_kwargs'),
    **same(f'{_STANDINS}.parallel', 'MMDataParallel MMDistributedDataParallel MODULE_WRAPPERS is_module_wrapper'),
}

_ENGINE = {
    **same('mmengine.dist', 'collect_results_cpu collect_results_gpu'),
    **same(f'{_STANDINS}.distributed', 'single_gpu_test multi_gpu_test'),
}

_DEVICE = {'get_device': 'mmengine.device:get_device'}

TABLES: Mapping[str, Mapping[str, str]] = {
    'utils': UTILS,
    'cnn': _CNN,
    'runner': _RUNNER,
    'parallel': _PARALLEL,
    'engine': _ENGINE,
    'device': _DEVICE,
    'none': {},
}
"""Family -> name -> what stands for it."""

_MODULES = {
    'runner': 'base_module base_runner builder checkpoint default_constructor dist_utils epoch_based_runner fp16_utils '
    'iter_based_runner log_buffer priority utils optimizer optimizer.builder optimizer.default_constructor hooks '
    'hooks.checkpoint hooks.closure hooks.ema hooks.evaluation hooks.hook hooks.iter_timer hooks.logger '
    'hooks.logger.base hooks.logger.tensorboard hooks.logger.text hooks.logger.wandb hooks.lr_updater hooks.memory '
    'hooks.momentum_updater hooks.optimizer hooks.profiler hooks.sampler_seed hooks.sync_buffer',
    'parallel': 'collate data_container data_parallel distributed distributed_deprecated registry scatter_gather utils '
    '_functions',
    'fileio': 'io parse file_client handlers handlers.base',
    'engine': 'test',
    'device': 'mlu npu ipu mps utils',
    'onnx': 'symbolic',
    'tensorrt': 'tensorrt_utils',
    'utils': 'config misc path logging registry progressbar timer parrots_wrapper version_utils trace testing hub seed',
    'cnn': 'bricks.registry utils.weight_init utils.sync_bn builder',
}
_PACKAGES = frozenset(
    {f'mmcv.{name}' for name in _MODULES}
    | {f'mmcv.{name}.{child}' for name, children in _MODULES.items() for child in children.split()}
)
PATCHED = (
    *('mmcv', 'mmcv.utils', 'mmcv.image', 'mmcv.video', 'mmcv.visualization', 'mmcv.cnn', 'mmcv.cnn.utils'),
    *('mmcv.cnn.bricks', 'mmcv.cnn.bricks.transformer', 'mmcv.cnn.bricks.drop', 'mmcv.cnn.bricks.conv'),
    *('mmcv.cnn.bricks.norm', 'mmcv.cnn.bricks.activation', 'mmcv.cnn.bricks.padding', 'mmcv.cnn.bricks.plugin'),
    *('mmcv.cnn.bricks.upsample', 'mmcv.cnn.bricks.wrappers'),
)
"""Modules that mmcv 2 has as well, to which names of 1.x are added."""


def is_package(module: str) -> bool:
    """Tell whether mmcv 1.x had a module of this name that the installed mmcv may lack."""
    return module in _PACKAGES


def families_of(module: str) -> tuple[str, ...]:
    """Return the tables in which names of a module are looked up.

    Args:
        module: Dotted name.

    Returns:
        Names of :data:`TABLES`.
    """
    part = f'{module}.'.split('.')[1]
    if part in ('', 'utils', 'fileio'):
        return ('utils',)  # mmcv 1.x has all of both in its top level as well
    return (part if part in TABLES else 'none',)
