"""150,000 iterations of SGD: warm-up, then poly 0.9, both per iteration; heads learn ten times as fast.

The published batch is 16; the rate grows with the batch from there.
"""

optimizer = dict(
    type='SGD',
    lr=5e-3,  # for 16 images per iteration
    momentum=0.9,
    weight_decay=5e-4,
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        # A custom key takes the place of the multipliers above, so the heads' norms and biases say both.
        custom_keys={
            'head': dict(lr_mult=10.0),
            'head.norm': dict(lr_mult=10.0, decay_mult=0.0),
            'head.classifier.bias': dict(lr_mult=10.0, decay_mult=0.0),
        },
    ),
)
optimizer_config = dict()
lr_config = dict(policy='poly', power=0.9, min_lr=0.0, by_epoch=False, warmup='linear', warmup_iters=1000,
                 warmup_ratio=0.1)  # fmt: skip
runner = dict(type='IterBasedRunner', max_iters=150000)
checkpoint_config = dict(by_epoch=False, interval=5000, max_keep_ckpts=2)
evaluation = dict(interval=5000, metric=dict(type='SegmentationIoU'), save_best='mIoU', rule='greater')
# Ten evaluations without a better mIoU end the run.
custom_hooks = [dict(type='EarlyStoppingHook', monitor='mIoU', rule='greater', patience=10, min_delta=1e-4)]
