"""Mamba small enough to learn on two CPU cores in minutes, on the built-in drivers.

python tools/datasets/make_demo.py driver && python tools/train.py configs/demo/video_mamba_driver.py
"""

_base_ = ['./video_transformer_driver.py']
# Smaller shifts than the Transformer's: 14 epochs are few.
data = dict(
    train=dict(
        pipeline=[
            dict(type='LoadDriverClip'),
            dict(type='ShiftDriverClip', max_shift=0.03),
            dict(type='PackDriverClip'),
        ]
    )
)
model = dict(
    encoder=dict(
        _delete_=True,
        type='VideoMamba',
        channels=64,
        depth=2,
        num_states=4,
        strides=(2, 2, 2),
        time_stride=2,
        drop_rate=0.0,
    )
)
runner = dict(max_epochs=14)
checkpoint_config = dict(interval=7)
evaluation = dict(interval=7)
