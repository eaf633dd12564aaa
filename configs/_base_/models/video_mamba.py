"""Mamba in both directions over 8 x 14 x 14 tokens of each view, features laid side by side."""

model = dict(
    type='MultiViewRecognizer',
    num_classes='=len(classes) or 9',
    encoder=dict(type='VideoMamba', channels=256, depth=6),
    fusion=dict(type='FeatureConcatFusion', drop_rate=0.5),
    data_preprocessor=dict(type='VideoPreprocessor'),  # /255
)
