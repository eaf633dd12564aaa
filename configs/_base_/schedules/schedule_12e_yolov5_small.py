"""12 epochs of AdamW from scratch, for a few hundred images."""

# AdamW needs no hundreds of warm-up steps; 2e-3 for a batch of 8.
optimizer = dict(type='AdamW', lr=2e-3, weight_decay=0.01, paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0))
optimizer_config = dict(grad_clip=dict(max_norm=10.0, norm_type=2))
lr_config = dict(
    policy='CosineAnnealing',
    min_lr_ratio=0.01,
    by_epoch=False,
    warmup='linear',
    warmup_iters=20,
    warmup_ratio=0.1,
)
runner = dict(type='EpochBasedRunner', max_epochs=12)
checkpoint_config = dict(interval=12)
evaluation = dict(interval=4, metric=dict(type='CocoDetection'), save_best='mAP50', rule='greater')
