"""100 epochs of AdamW; stops when F1 has not risen for 15 evaluations."""

optimizer = dict(type='AdamW', lr=1.5e-4, weight_decay=1e-5)  # the published V7, batch 32
optimizer_config = dict(grad_clip=dict(max_norm=1.0, norm_type=2))  # LSTMs have steep places
lr_config = dict(
    policy='CosineAnnealing',
    min_lr_ratio=0.01,
    by_epoch=True,
    warmup='linear',
    warmup_by_epoch=True,
    warmup_iters=1,  # one epoch, while the focal loss is ruled by negatives
    warmup_ratio=0.01,
)
runner = dict(type='EpochBasedRunner', max_epochs=100)
checkpoint_config = dict(interval=5, max_keep_ckpts=2)
evaluation = dict(interval=1, metric=dict(type='TemporalDetection'), save_best='F1', rule='greater')
custom_hooks = [dict(type='EarlyStoppingHook', monitor='F1', rule='greater', patience=15, min_delta=1e-4)]
