"""200,000 iterations of AdamW with a short warm-up and linear decay."""

optimizer = dict(
    type='AdamW',
    lr=2e-4,  # for samples_per_gpu=4; scale it linearly with the batch
    betas=(0.9, 0.999),
    weight_decay=0.01,
    paramwise_cfg=dict(
        # All norms by their type, biases and Swin's tables without weight decay. The original names the key 'norm',
        # which misses the GroupNorms of the head.
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={
            'absolute_pos_embed': dict(decay_mult=0.0),
            'relative_position_bias_table': dict(decay_mult=0.0),
        },
    ),
)
optimizer_config = dict()
lr_config = dict(
    policy='poly',
    power=1.0,
    min_lr=0.0,
    by_epoch=False,
    warmup='linear',
    warmup_iters=1500,
    warmup_ratio=1e-6,
)
runner = dict(type='IterBasedRunner', max_iters=200000)
# A crash loses at most a twentieth of the run; the newest three stay on disk, 350 MB each.
checkpoint_config = dict(by_epoch=False, interval=10000, max_keep_ckpts=3)
evaluation = dict(interval=10000, metric=dict(type='BEVIoU'), save_best='mIoU', rule='greater')
