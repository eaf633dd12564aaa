"""The keys of `optimizer`, `optimizer_config`, `runner`, `fp16`, `bf16`, `bad_numbers` and `auto_scale_lr`."""

from mmopt.config.keys.section import Key, Section
from mmopt.config.values import (
    ANY,
    BETAS,
    CLASS,
    COUNT,
    DICT,
    LOSS_SCALE,
    NUMBER,
    NUMBER_FROM_0,
    POSITIVE,
    SWITCH,
    TEXT,
)

__all__ = ['SECTIONS']

_REDUCTION = 'DDP reduces the gradients, while it computes them; MMCV has ignored the key since PyTorch 1.6'
_APEX = {
    'coalesce': Key(SWITCH, dropped=_REDUCTION),
    'bucket_size_mb': Key(NUMBER, dropped=_REDUCTION),
    'distributed': Key(SWITCH, dropped=_REDUCTION),
}


SECTIONS = {
    'optimizer': Section(
        {
            'type': Key(CLASS, 'optim_wrapper.optimizer.type', 'A class of torch.optim, or one that is registered.'),
            'lr': Key(NUMBER_FROM_0, 'optim_wrapper.optimizer.lr', 'Learning rate.'),
            'weight_decay': Key(NUMBER_FROM_0, 'optim_wrapper.optimizer.weight_decay', 'Weight decay.'),
            'momentum': Key(NUMBER_FROM_0, 'optim_wrapper.optimizer.momentum', 'Momentum of SGD and RMSprop.'),
            'betas': Key(BETAS, 'optim_wrapper.optimizer.betas', "Adam's decay rates."),
            'eps': Key(NUMBER_FROM_0, 'optim_wrapper.optimizer.eps', 'Added to a denominator.'),
            'nesterov': Key(SWITCH, 'optim_wrapper.optimizer.nesterov', "Nesterov's momentum, of SGD."),
            'dampening': Key(ANY, 'optim_wrapper.optimizer.dampening', 'Dampening of the momentum, of SGD.'),
            'amsgrad': Key(SWITCH, 'optim_wrapper.optimizer.amsgrad', 'The AMSGrad variant of Adam.'),
            'alpha': Key(ANY, 'optim_wrapper.optimizer.alpha', 'Smoothing constant of RMSprop.'),
            'centered': Key(ANY, 'optim_wrapper.optimizer.centered', 'The centered variant of RMSprop.'),
            'fused': Key(ANY, 'optim_wrapper.optimizer.fused', 'Update all parameters in one kernel.'),
            'foreach': Key(ANY, 'optim_wrapper.optimizer.foreach', 'Update all parameters in a few kernels.'),
            'paramwise_cfg': Key(
                DICT, 'optim_wrapper.paramwise_cfg', 'Learning rates and weight decays that differ; see below.'
            ),
            'constructor': Key(
                TEXT,
                'optim_wrapper.constructor',
                'What makes the parameter groups. The `DefaultOptimizerConstructor` and those of the libraries '
                '(`LearningRateDecay...`, `LayerDecay...`, `TSM...`) become ours; any other name is kept.',
            ),
        },
        'All other keys are arguments of the class.',
        is_open=True,
        foreign={
            'optimizer': 'is MMEngine wording; write the keys of the optimizer directly into optimizer=dict(...)',
            'clip_grad': 'is MMEngine wording; write optimizer_config=dict(grad_clip=dict(max_norm=...))',
            'grad_clip': 'belongs in optimizer_config=dict(grad_clip=dict(max_norm=...))',
            'learning_rate': 'is the wording of other frameworks; write lr',
            'lr0': 'is the wording of other frameworks; write lr',
            'wd': 'is the wording of other frameworks; write weight_decay',
        },
    ),
    'optimizer.paramwise_cfg': Section(
        {
            'custom_keys': Key(
                DICT,
                'optim_wrapper.paramwise_cfg.custom_keys',
                'Part of a parameter name -> its multipliers; the longest part that fits counts, and it alone.',
            ),
            'bias_lr_mult': Key(NUMBER_FROM_0, 'optim_wrapper.paramwise_cfg.bias_lr_mult', 'For biases outside norms.'),
            'bias_decay_mult': Key(
                NUMBER_FROM_0, 'optim_wrapper.paramwise_cfg.bias_decay_mult', 'For biases outside norms.'
            ),
            'norm_decay_mult': Key(
                NUMBER_FROM_0, 'optim_wrapper.paramwise_cfg.norm_decay_mult', 'For normalization layers.'
            ),
            'dwconv_decay_mult': Key(
                NUMBER_FROM_0, 'optim_wrapper.paramwise_cfg.dwconv_decay_mult', 'For depth-wise convolutions.'
            ),
            'dcn_offset_lr_mult': Key(
                NUMBER_FROM_0,
                'optim_wrapper.paramwise_cfg.dcn_offset_lr_mult',
                'For the offsets of deformable convolutions.',
            ),
            'bypass_duplicate': Key(
                SWITCH, 'optim_wrapper.paramwise_cfg.bypass_duplicate', 'Take a shared parameter once.'
            ),
        },
        'Multipliers of the learning rate and of the weight decay, with the `DefaultOptimizerConstructor`. Another '
        'constructor gets the dict as it is.',
        foreign={
            'flat_decay_mult': 'is MMEngine wording, unknown to MMCV 1.x; write custom_keys=dict(...) with decay_mult '
            'instead'
        },
    ),
    'optimizer.paramwise_cfg.custom_keys': Section(
        {
            'lr_mult': Key(
                NUMBER_FROM_0, 'optim_wrapper.paramwise_cfg.custom_keys.*.lr_mult', 'For the learning rate.'
            ),
            'decay_mult': Key(
                NUMBER_FROM_0, 'optim_wrapper.paramwise_cfg.custom_keys.*.decay_mult', 'For the weight decay.'
            ),
        },
        'Each entry holds:',
        foreign={'wd_mult': 'has no effect in MMCV 1.x, which ignores it; write decay_mult, or drop it'},
    ),
    'optimizer_config': Section(
        {
            'type': Key(
                CLASS,
                'optim_wrapper.type',
                '`OptimizerHook`, `Fp16OptimizerHook`, `GradientCumulativeOptimizerHook` or '
                '`GradientCumulativeFp16OptimizerHook`.',
            ),
            'grad_clip': Key(DICT, 'optim_wrapper.clip_grad', 'Clip the gradients, after unscaling.'),
            'loss_scale': Key(LOSS_SCALE, 'optim_wrapper.loss_scale', 'Of an fp16 hook; as `fp16.loss_scale`.'),
            'cumulative_iters': Key(
                COUNT,
                'optim_wrapper.accumulative_counts',
                'Of a `GradientCumulative...` hook: iterations per optimizer step.',
            ),
            **_APEX,
            'detect_anomalous_params': Key(
                SWITCH,
                refused='there is no counterpart; set find_unused_parameters=True to train on, or look for parameters '
                'without gradient in a --dry-run',
            ),
        },
        foreign={
            'clip_grad': 'is MMEngine wording; write grad_clip',
            'accumulative_counts': 'is MMEngine wording; write runner=dict(accumulative_counts=...)',
            'update_interval': 'is the wording of older libraries; write runner=dict(accumulative_counts=...)',
            'use_fp16': 'switches NVIDIA Apex on; write fp16=dict(loss_scale=512.) instead',
        },
    ),
    'optimizer_config.grad_clip': Section(
        {
            'max_norm': Key(
                POSITIVE, 'optim_wrapper.clip_grad.max_norm', 'The largest norm of all gradients together.'
            ),
            'norm_type': Key(ANY, 'optim_wrapper.clip_grad.norm_type', "The norm's order: a number (2) or `'inf'`."),
            'error_if_nonfinite': Key(
                ANY, 'optim_wrapper.clip_grad.error_if_nonfinite', 'End the run at a norm that is not finite.'
            ),
            'foreach': Key(ANY, 'optim_wrapper.clip_grad.foreach', 'Clip in a few kernels.'),
        },
        'Arguments of `torch.nn.utils.clip_grad_norm_`.',
    ),
    'runner': Section(
        {
            'type': Key(
                CLASS,
                ('runner_type', 'train_cfg.type'),
                '`EpochBasedRunner` (the default) or `IterBasedRunner`: what the run counts.',
            ),
            'max_epochs': Key(COUNT, 'train_cfg.max_epochs', 'Length of an epoch-based run.'),
            'max_iters': Key(COUNT, 'train_cfg.max_iters', 'Length of an iteration-based run.'),
            'accumulative_counts': Key(
                COUNT,
                'optim_wrapper.accumulative_counts',
                "Iterations per optimizer step; their losses are divided by it. mmopt's addition.",
            ),
        },
        foreign={
            'val_interval': 'is MMEngine wording; write evaluation=dict(interval=...)',
            'cumulative_iters': 'is the wording of the optimizer hook; write accumulative_counts',
        },
    ),
    'fp16': Section(
        {
            'loss_scale': Key(
                LOSS_SCALE,
                'optim_wrapper.loss_scale',
                "A float is a static scale (512.0), `'dynamic'` and a dict a moving one.",
            ),
            **_APEX,
        },
        'Train in float16; an empty dict will do.',
    ),
    'fp16.loss_scale': Section(
        {
            'init_scale': Key(NUMBER, 'optim_wrapper.loss_scale.init_scale', 'The first scale.'),
            'growth_factor': Key(NUMBER, 'optim_wrapper.loss_scale.growth_factor', 'Factor after enough good steps.'),
            'backoff_factor': Key(NUMBER, 'optim_wrapper.loss_scale.backoff_factor', 'Factor after an overflow.'),
            'growth_interval': Key(COUNT, 'optim_wrapper.loss_scale.growth_interval', 'How many steps are enough.'),
            'enabled': Key(SWITCH, 'optim_wrapper.loss_scale.enabled', 'False: train without a loss scale.'),
        },
        'Arguments of `torch.amp.GradScaler`.',
        foreign={'mode': "is Apex wording; write loss_scale='dynamic' or dict(init_scale=...)"},
    ),
    'bf16': Section({}, "Train in bfloat16, without a loss scale: `bf16 = dict()`. mmopt's addition."),
    'bad_numbers': Section(
        {
            'action': Key(TEXT, 'train_cfg.bad_numbers.action', "`'raise'`, `'skip'` or `'rollback'`."),
            'max_in_a_row': Key(
                COUNT,
                'train_cfg.bad_numbers.max_in_a_row',
                'One more bad iteration in a row ends the run.',
            ),
            'lr_factor': Key(
                NUMBER, 'train_cfg.bad_numbers.lr_factor', 'Each rollback multiplies the learning rate by it.'
            ),
            'max_rollbacks': Key(COUNT, 'train_cfg.bad_numbers.max_rollbacks', 'One more rollback ends the run.'),
        },
        'What a loss that is NaN or infinite does ([promises](reliability.md)).',
    ),
    'auto_scale_lr': Section(
        {
            'enable': Key(SWITCH, 'auto_scale_lr.enable', 'Scale the learning rate by the batch size.'),
            'base_batch_size': Key(
                COUNT, 'auto_scale_lr.base_batch_size', 'Samples per step that the learning rate was written for.'
            ),
        },
    ),
}
