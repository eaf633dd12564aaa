"""Kaggle's MABe challenge in windows of 1000 frames; run tools/datasets/prepare_mabe.py on the download first."""

dataset_type = 'MABeDataset'
data_root = 'data/mabe'
# The 18 parts that most labs track; a lab that lacks one has it missing throughout.
body_parts = [
    'nose', 'ear_left', 'ear_right', 'neck', 'head', 'body_center', 'lateral_left', 'lateral_right', 'hip_left',
    'hip_right', 'forepaw_left', 'forepaw_right', 'hindpaw_left', 'hindpaw_right', 'spine_1', 'tail_base',
    'tail_midpoint', 'tail_tip',
]  # fmt: skip
classes = [
    'allogroom', 'approach', 'attack', 'attemptmount', 'avoid', 'biteobject', 'chase', 'chaseattack', 'climb',
    'defend', 'dig', 'disengage', 'dominance', 'dominancegroom', 'dominancemount', 'ejaculate', 'escape',
    'exploreobject', 'flinch', 'follow', 'freeze', 'genitalgroom', 'huddle', 'intromit', 'mount', 'rear',
    'reciprocalsniff', 'rest', 'run', 'selfgroom', 'shepherd', 'sniff', 'sniffbody', 'sniffface', 'sniffgenital',
    'submit', 'tussle',
]  # fmt: skip
# 4 mice x 18 parts less the last one: the 71 keypoints of the published 284 inputs.
features = dict(type='MotionFeatures', body_parts=body_parts, num_mice=4, num_keypoints=71)
train_pipeline = [
    dict(type='CutTracks', max_gap_s=0.5, jitter=250),  # half the step between windows: every frame is seen
    dict(type='ShuffleMice'),
    dict(type='MirrorArena'),
    features,
    dict(type='PackTracks'),
]
test_pipeline = [
    dict(type='CutTracks', max_gap_s=0.5),
    features,
    dict(type='PackTracks'),
]
# Parsed tracks go to data/mabe/cache: a ten-minute video takes half a second to parse and microseconds to cut.
common = dict(type=dataset_type, data_root=data_root, window=1000, overlap=500, cache_dir='cache')
data = dict(
    samples_per_gpu=32,
    workers_per_gpu=8,
    pin_memory=True,
    prefetch_factor=2,
    persistent_workers=True,
    # Without gradients four times as much fits.
    val_dataloader=dict(samples_per_gpu=128),
    test_dataloader=dict(samples_per_gpu=128),
    train=dict(**common, metainfo=dict(classes='=classes'), split_file='splits/train.txt', pipeline=train_pipeline),
    val=dict(
        **common, metainfo=dict(classes='=classes'), split_file='splits/val.txt', pipeline=test_pipeline, test_mode=True
    ),
    test=dict(
        **common, metainfo=dict(classes='=classes'), split_file='splits/val.txt', pipeline=test_pipeline, test_mode=True
    ),
)
