"""Channels-last 3D convolutions win or lose by model and GPU; and BF16, which cuDNN once had wrong for them."""

title = 'Driver models: memory layout of 3D convolutions, and precision'
source = 'reports of channels_last_3d between 24 % slower and 78 % faster'
config = 'configs/baseline/video_conv3d_driver.py'
make_demo = 'python tools/datasets/make_demo.py driver'
demo_options = ['data.data_root=data/demo/driver']
last = ['optimize.channels_last=3d']
rows = [
    dict(name='conv3d', precision='fp16'),
    dict(name='conv3d, channels last', precision='fp16', options=last, claimed=dict(speed=(0.76, 1.78))),
    dict(name='conv3d, BF16', precision='bf16'),
    dict(name='conv3d, BF16, channels last', precision='bf16', options=last),
    dict(name='transformer', config='configs/baseline/video_transformer_driver.py', precision='fp16'),
    dict(
        name='transformer, channels last',
        config='configs/baseline/video_transformer_driver.py',
        precision='fp16',
        options=last,
    ),
    dict(name='mamba', config='configs/baseline/video_mamba_driver.py', precision='fp16'),
    dict(
        name='mamba, channels last',
        config='configs/baseline/video_mamba_driver.py',
        precision='fp16',
        options=last,
    ),
]
