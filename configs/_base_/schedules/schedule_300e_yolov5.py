"""300 epochs of SGD: 50 with the backbone frozen at batch 16, the others at batch 8."""

phases = [
    # A fresh head's large gradients would undo what the backbone knows; without its gradients twice the batch fits.
    dict(until_epoch=50, freeze=['backbone'], samples_per_gpu=16),
    dict(until_epoch=300, samples_per_gpu=8),
]
optimizer = dict(
    type='SGD',
    lr=5e-3,  # 2e-2 x batch / 64 at batch 16; 2.5e-3 at batch 8 follows from the phase
    momentum=0.937,
    nesterov=True,
    weight_decay=5e-4,
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
optimizer_config = dict()
lr_config = dict(
    policy='CosineAnnealing',
    min_lr_ratio=0.01,
    by_epoch=True,
    warmup='linear',
    warmup_by_epoch=True,
    warmup_iters=3,
    warmup_ratio=0.1,
)
runner = dict(type='EpochBasedRunner', max_epochs=300)
checkpoint_config = dict(interval=10, max_keep_ckpts=3)
evaluation = dict(interval=10, metric=dict(type='CocoDetection'), save_best='mAP50', rule='greater')
# 0.9999 with a warm-up of 2000 iterations; evaluated and saved in the place of the weights.
custom_hooks = [dict(type='ExpMomentumEMAHook', momentum=1e-4, total_iter=2000)]
