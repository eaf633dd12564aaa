model = dict(
    type='TinySegmentor',
    backbone=dict(type='TinyBackbone', channels=4, norm_cfg=dict(type='BN')),
    loss=dict(type='CrossEntropyLoss'),
    num_classes=2,
)
train_cfg = dict()
test_cfg = dict(mode='whole')
train_pipeline = [dict(type='LoadAnnotations'), dict(type='RandomFlip', prob=0.5), dict(type='Pack')]
test_pipeline = [dict(type='Pack', test=True)]
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=0,
    train=dict(type='TinyDataset', pipeline=train_pipeline, with_flag=True),
    val=dict(type='TinyDataset', pipeline=test_pipeline, num=4),
    test=dict(type='TinyDataset', pipeline=test_pipeline, num=4),
)
optimizer = dict(type='SGD', lr=0.1, momentum=0.9)
optimizer_config = dict()
lr_config = dict(policy='poly', power=0.9, by_epoch=False)
runner = dict(type='IterBasedRunner', max_iters=6)
checkpoint_config = dict(by_epoch=False, interval=3)
evaluation = dict(interval=3, metric='brightness')
log_config = dict(interval=1, hooks=[dict(type='TextLoggerHook', by_epoch=False)])
custom_hooks = [dict(type='NoteHook')]
seed = 0
