"""V6 on one annotated session, made as in tad_v7_session.py."""

_base_ = ['./tad_v7_session.py']
model = dict(
    _delete_=True,
    type='FrameClassifier',
    encoder=dict(
        type='ConvBiLSTM', in_channels=10, conv_channels=(32, 32), pool=1, hidden_size=32, num_layers=1, dropout=0.1
    ),
    num_classes=3,
    dropout=0.1,
    smooth=51,  # two seconds: annotators of whole sessions draw long intervals
    min_frames=20,
)
data = dict(train=dict(window=500, overlap=250), val=dict(window=500, overlap=250), test=dict(window=500, overlap=250))
runner = dict(max_iters=120)
checkpoint_config = dict(interval=120)
evaluation = dict(interval=120, metric=dict(type='TemporalDetection', score_threshold=0.0))
