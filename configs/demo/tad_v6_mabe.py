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
    train=dict(window=100, overlap=50),
    val=dict(window=100, overlap=50),
    test=dict(window=100, overlap=50),
)
evaluation = dict(metric=dict(type='TemporalDetection', score_threshold=0.0))
