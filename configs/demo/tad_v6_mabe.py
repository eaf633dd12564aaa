"""V6 on the demo's mice: what configs/demo/tad_v7_mabe.py is compared with, on the same split."""

_base_ = ['./tad_v7_mabe.py']
model = dict(
    _delete_=True,
    type='FrameClassifier',
    encoder=dict(
        type='ConvBiLSTM', in_channels=96, conv_channels=(64, 128), pool=1, hidden_size=128, num_layers=1, dropout=0.1
    ),
    num_classes=4,
    dropout=0.1,
)
data = dict(
    samples_per_gpu=96,
    val_dataloader=dict(samples_per_gpu=96),
    test_dataloader=dict(samples_per_gpu=96),
    train=dict(window=100, overlap=50),
    val=dict(window=100, overlap=50),
    test=dict(window=100, overlap=50),
)
evaluation = dict(interval=250, metric=dict(type='TemporalDetection', score_threshold=0.0))
# 250 x 96 windows of 100 frames are as many frames as 300 x 8 of 1000: neither side is trained longer.
runner = dict(max_iters=250)
lr_config = dict(warmup_iters=12)
custom_hooks = []  # the comparison itself
