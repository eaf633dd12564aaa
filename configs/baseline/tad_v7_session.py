"""V7 on one annotated session: DeepLabCut tracks of two animals, Caltech annotation without agent and target.

python tools/datasets/prepare_mabe.py --data-root data/session --pose POSE.csv --annotation INTERVALS.txt --fps 25 \
    --pix-per-cm 10
python tools/fit_anchors.py configs/baseline/tad_v7_session.py
python tools/train.py configs/baseline/tad_v7_session.py   # on the first third; choose settings by the middle one
python tools/train.py configs/baseline/tad_v7_session.py --no-validate --work-dir runs/last \
    --options data.train.split_file=splits/train_val.txt
python tools/test.py configs/baseline/tad_v7_session.py CHECKPOINT   # the last third, once
"""

_base_ = ['../_base_/default_runtime.py']

data_root = 'data/session'
# Chosen on the middle third of the rats: all five parts cost V6 0.07 of 0.75 (gaps, identity swaps).
body_parts = ['body']
# 2 animals x 1 part x (x, y, speed, acceleration), and two measures of how close they are.
features = dict(type='MotionFeatures', body_parts=body_parts, num_mice=2, use_pair_features=True)
train_pipeline = [
    dict(type='CutTracks', max_gap_s=60.0, jitter=100),
    dict(type='ShuffleMice'),
    dict(type='MirrorArena'),
    features,
    dict(type='PackTracks'),
]
test_pipeline = [dict(type='CutTracks', max_gap_s=60.0), features, dict(type='PackTracks')]
common = dict(type='MABeDataset', data_root=data_root, window=1000, overlap=800)
model = dict(
    type='IntervalDetector',
    # A session has some ten thousand frames: an eighth of the width of MABe's model.
    encoder=dict(type='ConvBiLSTM', in_channels=10, conv_channels=(32, 32), hidden_size=32, num_layers=1, dropout=0.1),
    num_classes=3,
    # tools/fit_anchors.py on the first third of the rats of the test: a third of their intervals exceeds 480 frames.
    anchor_lengths=(65, 154, 267, 391, 784),
    dropout=0.1,
    score_threshold=0.05,
    joint_score=True,  # intervals cover the whole session: objectness is nearly the same everywhere
)
data = dict(
    samples_per_gpu=8,
    workers_per_gpu=0,
    val_dataloader=dict(samples_per_gpu=8),
    test_dataloader=dict(samples_per_gpu=8),
    train=dict(**common, split_file='splits/train.txt', pipeline=train_pipeline),
    val=dict(**common, split_file='splits/val.txt', pipeline=test_pipeline, test_mode=True),
    test=dict(**common, split_file='splits/test.txt', pipeline=test_pipeline, test_mode=True),
)
optimizer = dict(type='AdamW', lr=3e-3, weight_decay=1e-2)
optimizer_config = dict(grad_clip=dict(max_norm=1.0, norm_type=2))
lr_config = dict(policy='poly', power=1.0, min_lr=0.0, by_epoch=False, warmup='linear', warmup_iters=15)
runner = dict(type='IterBasedRunner', max_iters=240)
checkpoint_config = dict(by_epoch=False, interval=240)
evaluation = dict(
    interval=240, metric=dict(type='TemporalDetection', score_threshold=0.3), save_best='F1', rule='greater'
)
log_config = dict(interval=10)
