"""The texts of the configs that tools/datasets/prepare_session.py writes, with places for what differs."""

__all__ = ['V6', 'V7']

V7 = '''"""V7 on one session, written by tools/datasets/prepare_session.py.

python tools/train.py {here}/tad_v7.py                # trains on the first part, measures on the middle one
python tools/train.py {here}/tad_v7.py --no-validate --work-dir {here}/runs/last \\\\
    --options data.train.split_file=splits/train_val.txt      # when the settings are chosen: on both
python tools/test.py {here}/tad_v7.py CHECKPOINT      # the last part, once
"""

data_root = '{{{{ fileDirname }}}}'
classes = {classes}
num_classes = len(classes)
# With these a linear model classifies the frames of the middle part best (F1 {probe:.2f}).
body_parts = {body_parts}
# {num_mice} animals x {num_parts} parts x (x, y, speed, acceleration), and two measures of how close each pair is.
features = dict(type='MotionFeatures', body_parts=body_parts, num_mice={num_mice}, use_pair_features=True)
window = {window}  # frames: four times the length that three quarters of the intervals stay below, within bounds
train_pipeline = [
    dict(type='CutTracks', max_gap_s=60.0, jitter={jitter}),
    dict(type='ShuffleMice'),
    dict(type='MirrorArena'),  # leave it out if a behavior depends on the place
    features,
    dict(type='PackTracks'),
]
test_pipeline = [dict(type='CutTracks', max_gap_s=60.0), features, dict(type='PackTracks')]
common = dict(
    type='MABeDataset', data_root=data_root, metainfo=dict(classes=classes), window=window, overlap={overlap}
)
model = dict(
    type='IntervalDetector',
    encoder=dict(
        type='ConvBiLSTM',
        in_channels={in_channels},
        conv_channels=({width}, {width}),  # by the number of frames to train on: {num_frames}
        pool={pool},  # 1 where intervals are as short as the stride that two poolings of 2 make
        hidden_size={width},
        num_layers=1,
        dropout=0.1,
    ),
    num_classes=num_classes,
    window=window,
    anchor_lengths={anchors},  # fitted: they reach {recall:.0%} of the intervals of the first part
    dropout=0.1,
    score_threshold=0.05,
    joint_score=True,  # where intervals cover most of a session, objectness alone does not tell which is best
)
data = dict(
    samples_per_gpu={batch},
    workers_per_gpu=0,  # a sample takes less than a worker costs
    val_dataloader=dict(samples_per_gpu={batch}),
    test_dataloader=dict(samples_per_gpu={batch}),
    train=dict(**common, split_file='splits/train.txt', pipeline=train_pipeline),
    val=dict(**common, split_file='splits/val.txt', pipeline=test_pipeline, test_mode=True),
    test=dict(**common, split_file='splits/test.txt', pipeline=test_pipeline, test_mode=True),
)
optimizer = dict(type='AdamW', lr=3e-3, weight_decay=1e-2)
optimizer_config = dict(grad_clip=dict(max_norm=1.0, norm_type=2))
lr_config = dict(policy='poly', power=1.0, min_lr=0.0, by_epoch=False, warmup='linear', warmup_iters=15)
runner = dict(type='IterBasedRunner', max_iters={iters})
checkpoint_config = dict(by_epoch=False, interval={iters})
evaluation = dict(interval={iters}, metric=dict(type='TemporalDetection', score_threshold={threshold}))
log_config = dict(interval=10)
'''

V6 = '''"""V6 on the session of tad_v7.py, with the same inputs."""

_base_ = ['./tad_v7.py']
window = {window}
model = dict(
    _delete_=True,
    type='FrameClassifier',
    encoder=dict(
        type='ConvBiLSTM',
        in_channels={in_channels},
        conv_channels=({width}, {width}),
        pool=1,
        hidden_size={width},
        num_layers=1,
        dropout=0.1,
    ),
    num_classes={{{{_base_.num_classes}}}},
    dropout=0.1,
    smooth={smooth},  # frames: a fifth of the middle interval
    min_frames={min_frames},  # a third of what one interval in twenty stays below
)
data = dict(
    samples_per_gpu={batch},
    val_dataloader=dict(samples_per_gpu={batch}),
    test_dataloader=dict(samples_per_gpu={batch}),
    train=dict(window=window, overlap={overlap}),
    val=dict(window=window, overlap={overlap}),
    test=dict(window=window, overlap={overlap}),
)
runner = dict(max_iters={iters})
checkpoint_config = dict(interval={iters})
evaluation = dict(interval={iters}, metric=dict(type='TemporalDetection', score_threshold=0.0))
'''
