"""The keys of the top level of a config, of `phases`, `dist_params` and `optimize`."""

from mmopt.config.keys.section import SAME, Key, Section
from mmopt.config.values import (
    ANY,
    BF16,
    CHECKPOINTING,
    COMPILE,
    COUNT,
    COUNT_OR_AUTO,
    DICT,
    FP16,
    HOOKS,
    LIST,
    NUMBER,
    PATTERNS,
    PHASES,
    POLICY,
    PRECISION,
    SEED,
    SHA256,
    STRICT_SWITCH,
    SWITCH,
    TEXT,
    TEXT_OR_LIST,
    WHOLE,
    WHOLE_FROM_0,
    choice,
)

__all__ = ['DIALECT', 'EXTRAS', 'NATIVE', 'SECTIONS', 'TOP_LEVEL']

_EVALUATORS = ('val_evaluator', 'test_evaluator')

DIALECT = {
    'data': Key(DICT, '*_dataloader', 'Data sets and loaders.'),
    'optimizer': Key(DICT, 'optim_wrapper', 'The optimizer; without one the config only predicts.'),
    'optimizer_config': Key(DICT, 'optim_wrapper', 'Clipping and accumulation.'),
    'fp16': Key(FP16, 'optim_wrapper', 'Train in float16.'),
    'bf16': Key(BF16, 'optim_wrapper', "Train in bfloat16. mmopt's addition."),
    'lr_config': Key(POLICY, 'param_scheduler', 'The schedule of the learning rate: `ClosedFormLR`.'),
    'momentum_config': Key(POLICY, 'param_scheduler', 'The schedule of the momentum: `ClosedFormMomentum`.'),
    'runner': Key(DICT, ('runner_type', 'train_cfg', 'optim_wrapper'), 'Length of the run.'),
    'total_epochs': Key(COUNT, 'train_cfg.max_epochs', 'The length, in old configs.'),
    'total_iters': Key(COUNT, 'train_cfg.max_iters', 'The length, in old configs.'),
    'checkpoint_config': Key(DICT, 'default_hooks.checkpoint', 'When checkpoints are saved.'),
    'evaluation': Key(
        DICT, (*_EVALUATORS, 'train_cfg', 'default_hooks.checkpoint'), 'What is measured on `data.val`, and when.'
    ),
    'log_config': Key(DICT, ('default_hooks.logger', 'log_processor', 'visualizer'), 'Log lines and curves.'),
    'bad_numbers': Key(DICT, 'train_cfg.bad_numbers', "What a loss that is NaN or infinite does. mmopt's addition."),
    'workflow': Key(LIST, dropped='every phase trains; one that validates is refused'),
    'dist_params': Key(DICT, 'env_cfg.dist_cfg', 'How processes find each other.'),
    'cudnn_benchmark': Key(SWITCH, 'env_cfg.cudnn_benchmark', 'Let cuDNN try its algorithms (False).'),
    'opencv_num_threads': Key(WHOLE, 'env_cfg.mp_cfg.opencv_num_threads', "OpenCV's threads per worker (0)."),
    'mp_start_method': Key(TEXT, 'env_cfg.mp_cfg.mp_start_method', "How workers start (`'fork'`)."),
    'model_wrapper': Key(
        choice('ddp', 'fsdp'), 'model_wrapper_cfg', "`'fsdp'` shards the model over the GPUs. mmopt's addition."
    ),
    'seed': Key(SEED, 'randomness.seed', 'Of all random numbers.'),
    'deterministic': Key(SWITCH, 'randomness.deterministic', 'Only algorithms that give the same bits (False).'),
    'phases': Key(PHASES, 'train_cfg.phases', "Epochs that freeze modules or have other batches. mmopt's addition."),
}
"""Keys that only the dialect has: a config that has one is no native MMEngine config."""

_SHARED = {
    'model': Key(DICT, 'model', 'The model.'),
    'train_cfg': Key(DICT, 'model.train_cfg', 'The place where old configs keep `model.train_cfg`.'),
    'test_cfg': Key(DICT, 'model.test_cfg', 'The same for `model.test_cfg`.'),
    # The name is one that users' variables have.
    'precision': Key(
        PRECISION, 'optim_wrapper', "Replaces `fp16` and `bf16`; `'auto'`: the device's fastest. mmopt's addition."
    ),
    'custom_hooks': Key(HOOKS, 'custom_hooks', 'More hooks. Those that are not listed below keep name and keys.'),
    'custom_imports': Key(DICT, SAME, 'Modules to import first.'),
    'mmcv_extension': Key(
        choice('torch'), SAME, "`'torch'`: mmcv's compiled functions in PyTorch, for mmcv-lite. mmopt's addition."
    ),
    'mmcv1': Key(
        ANY,
        SAME,
        'The code that the config names is written for mmcv 1.x: a dict as below, or False to leave the layer off. '
        "Usually found out by itself. mmopt's addition.",
    ),
    'load_from': Key(TEXT, 'load_from', 'Begin with the weights of this checkpoint.'),
    'load_from_sha256': Key(
        SHA256, SAME, "Refuse another file than the one with this hash as `load_from`. mmopt's addition."
    ),
    'resume_from': Key(TEXT, ('load_from', 'resume'), 'Go on where this checkpoint stopped.'),
    'auto_resume': Key(
        SWITCH, ('resume', 'auto_resume'), "Go on from the work dir's newest checkpoint if there is one."
    ),
    'resume_optimizer': Key(
        STRICT_SWITCH, SAME, 'False: a resumed run begins its optimizer afresh; weights, iteration and schedule go on.'
    ),
    'allow_partial': Key(
        STRICT_SWITCH, SAME, 'Resume and test with weights of which a part is left out, which is then listed (False).'
    ),
    'strip_prefix': Key(TEXT, SAME, 'Take this off the names of the weights that are loaded.'),
    'keep_global_batch': Key(
        STRICT_SWITCH, SAME, 'False: resume on another number of processes with another global batch.'
    ),
    'allow_pickle': Key(STRICT_SWITCH, SAME, 'Load checkpoints with any Python objects, if you trust them (False).'),
    'log_level': Key(ANY, 'log_level', "`'INFO'` unless given."),
    'work_dir': Key(TEXT, SAME, 'The folder of the run.'),
    'launcher': Key(TEXT, SAME, "What starts the processes: `'none'`, `'pytorch'` or `'slurm'`."),
    'find_unused_parameters': Key(
        SWITCH, 'model_wrapper_cfg.find_unused_parameters', 'Train parameters that not every iteration uses.'
    ),
    'auto_scale_lr': Key(DICT, SAME, 'Scale the learning rate by the batch size.'),
    'default_scope': Key(TEXT, 'default_scope', "Where names of classes are looked up first (`'mmopt'`)."),
    'data_root': Key(TEXT, SAME, 'A variable; as an option it replaces the root of every data set.'),
    'optimize': Key(DICT, SAME, "Faster or smaller, with the same results. mmopt's addition."),
}

_REFUSED = {
    'omnisource': Key(
        ANY,
        refused='OmniSource trains on several loaders at once, which mmopt does not have; write one data set list in '
        'data.train and drop the omnisource keys',
    ),
    'multigrid': Key(
        ANY,
        refused='multigrid training changes batch and clip size while it trains, which mmopt does not have; drop it',
    ),
    'precise_bn': Key(ANY, refused='precise BatchNorm statistics are not recomputed here; drop it'),
    'module_hooks': Key(
        ANY, refused='forward hooks from a config are not registered here; write them into the model or drop them'
    ),
}

TOP_LEVEL = Section(
    {**DIALECT, **_SHARED, **_REFUSED}, 'Any other name is a variable and stays as it is.', is_open=True
)

EXTRAS = ('expect', 'runner_type')
"""Names that a run reads at the top level of any config, though no section of MMCV 1.x or MMEngine is called so."""

NATIVE = (
    *('model', 'data_preprocessor', 'train_dataloader', 'val_dataloader', 'test_dataloader'),
    *('train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper', 'param_scheduler'),
    *('val_evaluator', 'test_evaluator', 'tta_model', 'tta_pipeline', 'default_hooks', 'custom_hooks'),
    *('default_scope', 'load_from', 'resume', 'auto_resume'),
    *('env_cfg', 'randomness', 'log_processor', 'log_level', 'visualizer', 'experiment_name'),
    *('model_wrapper_cfg', 'sync_bn', 'cfg'),
    *(key for key, entry in _SHARED.items() if entry.to == SAME),
)
"""The sections of a native config, and what a run reads in any config."""

SECTIONS = {
    'phases': Section(
        {
            'until_epoch': Key(WHOLE, 'train_cfg.phases.until_epoch', 'The first epoch, from 0, of the next phase.'),
            'freeze': Key(ANY, 'train_cfg.phases.freeze', 'Names of modules; `*` and `?` are wildcards.'),
            'samples_per_gpu': Key(COUNT, 'train_cfg.phases.batch_size', 'Samples per iteration and GPU.'),
        },
        'A list of dicts, each with:',
    ),
    'mmcv1': Section(
        {
            'package': Key(TEXT_OR_LIST, SAME, 'The package, or several, to import for model and data sets.'),
            'root': Key(TEXT_OR_LIST, SAME, 'The folder, or several, in which packages lie that are not installed.'),
            'version': Key(TEXT, SAME, 'The mmcv version to report, where the package names no range.'),
        },
        '[Code written for mmcv 1.x](migrating_from_mmcv1.md).',
    ),
    'dist_params': Section(
        {
            'backend': Key(TEXT, 'env_cfg.dist_cfg.backend', "`'nccl'` or `'gloo'`; on a CPU always gloo."),
            'timeout': Key(NUMBER, 'env_cfg.dist_cfg.timeout', 'Seconds after which waiting for a process fails.'),
            'port': Key(
                WHOLE, 'env_cfg.dist_cfg.port', 'Of the first process under SLURM; torchrun has `--master-port`.'
            ),
            'init_method': Key(TEXT, dropped='the launcher tells the processes where to meet, in their environment'),
        }
    ),
    'optimize': Section(
        {
            'base_batch': Key(COUNT, SAME, 'Samples per step that the learning rate was written for.'),
            'channels_last': Key(choice(True, False, '2d', '3d'), SAME, 'Memory format of convolutions.'),
            'checkpointing': Key(CHECKPOINTING, SAME, 'Compute activations again in the backward pass.'),
            'compile': Key(COMPILE, SAME, 'Compile parts of the model.'),
            'fused_optimizer': Key(STRICT_SWITCH, SAME, 'Update all parameters in one kernel.'),
            'inplace': Key(STRICT_SWITCH, SAME, 'Activations overwrite their input where that is safe.'),
            'max_workers': Key(WHOLE_FROM_0, '*_dataloader.num_workers', 'At most so many worker processes.'),
            'micro_batch': Key(COUNT_OR_AUTO, SAME, 'Split each iteration into parts of this size.'),
            'offload': Key(PATTERNS, SAME, 'Keep activations in the memory of the CPU.'),
            'optimizer_8bit': Key(STRICT_SWITCH, SAME, "Keep the optimizer's state in 8 bits."),
            'precision': Key(PRECISION, 'optim_wrapper', 'As the top-level `precision`.'),
            'scale_lr': Key(choice('linear', 'sqrt'), SAME, 'Scale the learning rate by the samples per step.'),
            'tf32': Key(STRICT_SWITCH, SAME, 'Let fp32 products use TF32.'),
        },
        'In configs of both dialects ([speed](speed.md), [memory](memory.md)).',
    ),
}
