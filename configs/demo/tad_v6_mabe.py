"""V6 on the demo's mice: what configs/demo/tad_v7_mabe.py is compared with, on the same split."""

_base_ = ['./tad_v7_mabe.py']
model = dict(
    _delete_=True,
    type='FrameClassifier',
    encoder=dict(type='ConvBiLSTM', in_channels=96, pool=1, dropout=0.1),
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
evaluation = dict(interval=80, metric=dict(type='TemporalDetection', score_threshold=0.0))
# A batch of 96 x 100 frames costs three times V7's 8 x 1000, and sees each frame more often: 80 suffice.
runner = dict(max_iters=80)
lr_config = dict(warmup_iters=8)
custom_hooks = []  # the comparison itself
