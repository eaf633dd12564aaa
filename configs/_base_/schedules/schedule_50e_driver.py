"""50 epochs of Adam, 1e-4 down a cosine; stops when accuracy has not risen for 5."""

optimizer = dict(type='Adam', lr=1e-4)
optimizer_config = dict()
lr_config = dict(policy='CosineAnnealing', min_lr=0.0, by_epoch=True)
runner = dict(type='EpochBasedRunner', max_epochs=50)
checkpoint_config = dict(interval=5, max_keep_ckpts=2)
evaluation = dict(interval=1, metric=dict(type='ActionClassification'), save_best='accuracy', rule='greater')
custom_hooks = [
    dict(type='EarlyStoppingHook', monitor='accuracy', rule='greater', patience=5, min_delta=0.0),
    dict(type='MetricPicturesHook'),  # confusion_matrix.png
]
