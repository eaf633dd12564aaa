"""Transformer over 8 x 14 x 14 tokens of each view; the views attend to each other at every time step."""

model = dict(
    type='MultiViewRecognizer',
    num_classes='=len(classes) or 9',
    encoder=dict(type='VideoTransformer', channels=384, depth=6, num_heads=6),
    fusion=dict(type='CrossViewAttention', num_heads=6, drop_rate=0.5),
    data_preprocessor=dict(type='VideoPreprocessor'),  # /255
)
