"""The words of other frameworks and of the guides that readers bring along, and what stands for them here."""

from typing import Any, NamedTuple

from mmopt.config.words.dialects import in_native

__all__ = ['FOREIGN', 'FOREIGN_SECTIONS', 'Word', 'word_of']

# What a word becomes: keys of the dialect, whose names in a native config the tables of keys tell; `{}` is the user's
# value. Flags and sentences, which have a space or begin with --, stay as they are.
_BATCH = 'data.samples_per_gpu={}'
_ACCUMULATION = 'runner.accumulative_counts={}'
_EPOCHS = 'runner.max_epochs={}'
_ITERATIONS = 'runner.max_iters={}'
_RATE = 'optimizer.lr={}'
_WORKERS = 'data.workers_per_gpu={}'
_PRECISION = '--precision fp16, bf16 or fp32'
_CLIPPING = 'optimizer_config.grad_clip.max_norm={}'
_CHECKPOINTING = 'optimize.checkpointing=blocks'
_COMPILE = 'optimize.compile={}'
_WEIGHTS = 'load_from={}'
_RESUME = '--resume-from FILE or --auto-resume'
_FOLDER = '--work-dir {}'
_EVALUATION = 'evaluation.interval={}'
_SAVING = 'checkpoint_config.interval={}'
_KEPT = 'checkpoint_config.max_keep_ckpts={}'
_LOGGING = 'log_config.interval={}'
_BEST = 'evaluation.save_best={}'
_SCHEDULE = 'lr_config.policy={}'
_WARM_UP = 'lr_config.warmup_iters={}'
_DEVICES = '--gpu-ids, or `bash tools/dist_train.sh CONFIG N` for several GPUs'
_SHARDING = "model_wrapper='fsdp' (in a native config: model_wrapper_cfg=dict(type='FSDP'))"
_SIZE = 'the size in the steps of data.train.pipeline and data.val.pipeline'
_STEP = 'the probability of the step in data.train.pipeline'
_EMA = "custom_hooks=[dict(type='EMAHook')]"
_STOPPING = "custom_hooks=[dict(type='EarlyStoppingHook', monitor=...)]"

FOREIGN: dict[str, dict[str, str]] = {
    'Lightning': dict(
        accumulate_grad_batches=_ACCUMULATION,
        precision=_PRECISION,
        max_epochs=_EPOCHS,
        max_steps=_ITERATIONS,
        gradient_clip_val=_CLIPPING,
        gradient_clip_algorithm=_CLIPPING,
        val_check_interval=_EVALUATION,
        check_val_every_n_epoch=_EVALUATION,
        log_every_n_steps=_LOGGING,
        num_sanity_val_steps='--dry-run for a check before the run',
        fast_dev_run='--dry-run for a check before the run',
        limit_train_batches=_ITERATIONS,
        limit_val_batches='--no-validate, or a smaller data.val',
        accelerator=_DEVICES,
        devices=_DEVICES,
        num_nodes='tools/slurm_train.sh for several machines',
        strategy=_SHARDING,
        sync_batchnorm="norm_cfg=dict(type='SyncBN') in the model",
        default_root_dir=_FOLDER,
        ckpt_path=_RESUME,
        resume_from_checkpoint=_RESUME,
        benchmark='cudnn_benchmark={}',
        seed_everything='seed={}',
        enable_checkpointing=_SAVING,
        save_top_k=_KEPT,
        every_n_epochs=_SAVING,
        every_n_train_steps=_SAVING,
        monitor=_BEST,
        auto_lr_find='tools/tune.py for the best settings',
        auto_scale_batch_size='tools/tune.py for the best settings',
    ),
    'Ultralytics': dict(
        epochs=_EPOCHS,
        batch=_BATCH,
        imgsz=_SIZE,
        lr0=_RATE,
        lrf='lr_config.min_lr_ratio={}',
        cos_lr='lr_config.policy=CosineAnnealing',
        warmup_epochs=_WARM_UP,
        workers=_WORKERS,
        amp=_PRECISION,
        half=_PRECISION,
        device=_DEVICES,
        patience=_STOPPING,
        pretrained=_WEIGHTS,
        weights=_WEIGHTS,
        nbs='optimize.base_batch={}',
        freeze='phases.0.freeze={}',
        save_period=_SAVING,
        close_mosaic=_STEP,
        mosaic=_STEP,
        mixup=_STEP,
        project=_FOLDER,
        exist_ok=_FOLDER,
        noval='--no-validate',
    ),
    'Hugging Face': dict(
        mixed_precision=_PRECISION,
        gradient_accumulation_steps=_ACCUMULATION,
        per_device_train_batch_size=_BATCH,
        per_device_eval_batch_size='data.val_dataloader.samples_per_gpu={}',
        per_gpu_train_batch_size=_BATCH,
        auto_find_batch_size='optimize.micro_batch=auto',
        learning_rate=_RATE,
        num_train_epochs=_EPOCHS,
        warmup_steps=_WARM_UP,
        lr_scheduler_type=_SCHEDULE,
        max_grad_norm=_CLIPPING,
        optim='optimizer.type={}',
        adam_beta1='optimizer.betas={}',
        adam_beta2='optimizer.betas={}',
        adam_epsilon='optimizer.eps={}',
        dataloader_num_workers=_WORKERS,
        dataloader_pin_memory='data.pin_memory={}',
        dataloader_prefetch_factor='data.prefetch_factor={}',
        dataloader_persistent_workers='data.persistent_workers={}',
        gradient_checkpointing=_CHECKPOINTING,
        use_gradient_checkpointing=_CHECKPOINTING,
        torch_compile=_COMPILE,
        save_steps=_SAVING,
        save_strategy=_SAVING,
        save_total_limit=_KEPT,
        eval_steps=_EVALUATION,
        eval_strategy=_EVALUATION,
        evaluation_strategy=_EVALUATION,
        logging_steps=_LOGGING,
        output_dir=_FOLDER,
        metric_for_best_model=_BEST,
        load_best_model_at_end=_BEST,
        greater_is_better='evaluation.rule={}',
        report_to='log_config.hooks={}',
        ddp_find_unused_parameters='find_unused_parameters={}',
        fsdp=_SHARDING,
        deepspeed=_SHARDING,
    ),
    'DeepSpeed': dict(
        train_batch_size=_BATCH,
        train_micro_batch_size_per_gpu=_BATCH,
        gradient_clipping=_CLIPPING,
        steps_per_print=_LOGGING,
        zero_stage=_SHARDING,
        stage=_SHARDING,
    ),
    'timm': dict(
        opt='optimizer.type={}',
        sched=_SCHEDULE,
        clip_grad=_CLIPPING,
        model_ema=_EMA,
        torchcompile=_COMPILE,
        grad_checkpointing=_CHECKPOINTING,
        grad_accum_steps=_ACCUMULATION,
        amp_dtype=_PRECISION,
        validation_batch_size='data.val_dataloader.samples_per_gpu={}',
        initial_checkpoint=_WEIGHTS,
        checkpoint_hist=_KEPT,
        eval_metric=_BEST,
        input_size=_SIZE,
        img_size=_SIZE,
    ),
    'Detectron2': dict(
        ims_per_batch=_BATCH,
        base_lr=_RATE,
        max_iter=_ITERATIONS,
        checkpoint_period=_SAVING,
        eval_period=_EVALUATION,
    ),
    'other code': dict(
        ims_per_gpu=_BATCH,
        fp16=_PRECISION,
        use_fp16=_PRECISION,
        effective_batch_size='data.samples_per_gpu and runner.accumulative_counts, whose product it is',
        data_dir='data.data_root={}',
        anchor_scales='model.anchor_lengths, which tools/fit_anchors.py finds',
        input_dim='model.encoder.in_channels={}',
        use_motion_features='the step MotionFeatures of each pipeline, which takes it',
        fold='data.train.split_file and data.val.split_file, as splits/fold_1_train.txt',
        eval_scales='model.eval_scales={}',
        use_cache='data.cache=ram',
        enable_early_stopping=_STOPPING,
        early_stop=_STOPPING,
        freeze_train='phases.0.freeze={}',
        input_shape=_SIZE,
        vram="optimize.micro_batch='auto', which fits the batch to the card",
        freeze_batch_size='phases.0.samples_per_gpu={}',
        unfreeze_batch_size='phases.1.samples_per_gpu={}',
        freeze_epoch='phases.0.until_epoch={}',
        unfreeze_epoch=_EPOCHS,
        mixup_prob=_STEP,
        mosaic_prob=_STEP,
        modality='another config: configs/baseline/yolov5m_fred_rgb.py or yolov5m_fred_event.py',
        no_eval_map='--no-validate',
        eval_map='--no-validate to leave evaluations out',
        batch_size=_BATCH,
        batchsize=_BATCH,
        bs=_BATCH,
        micro_batch_size='optimize.micro_batch={}',
        val_batch_size='data.val_dataloader.samples_per_gpu={}',
        eval_batch_size='data.val_dataloader.samples_per_gpu={}',
        test_batch_size='data.test_dataloader.samples_per_gpu={}',
        init_lr=_RATE,
        base_learning_rate=_RATE,
        use_amp=_PRECISION,
        enable_amp=_PRECISION,
        dtype=_PRECISION,
        half_precision=_PRECISION,
        gradient_clip=_CLIPPING,
        clip_grad_norm=_CLIPPING,
        activation_checkpointing=_CHECKPOINTING,
        use_checkpoint=_CHECKPOINTING,
        max_epoch=_EPOCHS,
        nepochs=_EPOCHS,
        pretrained_weights=_WEIGHTS,
        weights_path=_WEIGHTS,
        checkpoint_path=_WEIGHTS,
        nproc_per_node=_DEVICES,
        world_size=_DEVICES,
        ngpus=_DEVICES,
        accumulation_steps=_ACCUMULATION,
        accum_iter=_ACCUMULATION,
        grad_accum=_ACCUMULATION,
        num_workers=_WORKERS,
        nworkers=_WORKERS,
        num_epochs=_EPOCHS,
        n_epochs=_EPOCHS,
        epoch=_EPOCHS,
        iters=_ITERATIONS,
        iterations=_ITERATIONS,
        num_iters=_ITERATIONS,
        num_steps=_ITERATIONS,
        wd='optimizer.weight_decay={}',
        scheduler=_SCHEDULE,
        lr_scheduler=_SCHEDULE,
        grad_clip=_CLIPPING,
        autocast=_PRECISION,
        gpu=_DEVICES,
        gpus=_DEVICES,
        gpu_ids=_DEVICES,
        gpu_id=_DEVICES,
        num_gpus=_DEVICES,
        distributed=_DEVICES,
        ckpt=_WEIGHTS,
        checkpoint=_WEIGHTS,
        resume=_RESUME,
        save_dir=_FOLDER,
        out_dir=_FOLDER,
        val_interval=_EVALUATION,
        eval_interval=_EVALUATION,
        save_interval=_SAVING,
        save_freq=_SAVING,
        log_interval=_LOGGING,
        print_freq=_LOGGING,
        compile=_COMPILE,
        ema=_EMA,
        early_stopping=_STOPPING,
        model_wrapper_cfg='model_wrapper or find_unused_parameters',
    ),
}
"""Framework -> word, in lower case -> what to write here."""

FOREIGN_SECTIONS = {
    'trainer': 'Lightning',
    'datamodule': 'Lightning',
    'train': 'other code',
    'training': 'other code',
    'training_args': 'Hugging Face',
    'training_arguments': 'Hugging Face',
    'args': 'other code',
    'hparams': 'other code',
    'hyp': 'Ultralytics',
    'accelerator': 'Hugging Face',
    'zero_optimization': 'DeepSpeed',
    'solver': 'Detectron2',
    'dataloader': 'Detectron2',
}
"""Section of another framework, in lower case -> the framework."""


class Word(NamedTuple):
    """A word of another framework.

    Attributes:
        framework: Whose it is.
        ours: What to write here, see :data:`FOREIGN`; empty for a section of which nothing more is known.
    """

    framework: str
    ours: str

    def remedy(self, value: Any, *, native: bool = False) -> str:
        """Return what to write.

        Args:
            value: The user's.
            native: Name the key of a native config.

        Returns:
            The part of a sentence that begins with a verb.
        """
        text = value if isinstance(value, str) else repr(value)
        if not self.ours:
            return 'write the key into a section of this config (docs/config_reference.md)'
        if ' ' in self.ours or self.ours.startswith('--'):
            verb = 'use' if self.ours.startswith('tools/') else 'write'
            return f'{verb} {self.ours}'.replace('{}', text)
        key, equals, example = self.ours.partition('=')
        return f'write {in_native(key) if native else key}{equals}{example}'.replace('{}', text)


_WORDS = {word: Word(framework, ours) for framework, words in FOREIGN.items() for word, ours in words.items()}


def word_of(key: str) -> Word | None:
    """Look a key up among the words of other frameworks.

    Args:
        key: Dotted, as it is written: ``accumulate_grad_batches``, ``trainer.precision``, ``SOLVER.BASE_LR``.

    Returns:
        The word, or None where no framework has it.
    """
    *path, last = key.lower().split('.')
    if not path:
        section = FOREIGN_SECTIONS.get(last)
        return _WORDS.get(last) or (section and Word(section, '')) or None
    if path[0] not in FOREIGN_SECTIONS:
        return None
    found = _WORDS.get(last)
    return Word(FOREIGN_SECTIONS[path[0]], found.ours if found else '')
