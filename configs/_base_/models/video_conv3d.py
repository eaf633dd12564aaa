"""SlowOnly ResNet-50 on three views, features laid side by side."""

model = dict(
    type='MultiViewRecognizer',
    num_classes='=len(classes) or 9',
    encoder=dict(type='SlowOnly'),
    fusion=dict(type='FeatureConcatFusion', drop_rate=0.5),
    data_preprocessor=dict(type='VideoPreprocessor'),  # /255
)
