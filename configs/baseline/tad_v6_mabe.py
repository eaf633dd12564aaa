"""V6 on MABe: frames classified in windows of 100, batch 96."""

_base_ = [
    '../_base_/models/tad_v6.py',
    '../_base_/datasets/mabe.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_100e_tad.py',
]
# All 72 keypoints, and windows of 100 frames whose borders the metric joins.
features = dict(type='MotionFeatures', body_parts={{_base_.body_parts}}, num_mice=4)
train_pipeline = [
    dict(type='CutTracks', max_gap_s=0.5, jitter=25),
    dict(type='ShuffleMice'),
    dict(type='MirrorArena'),
    features,
    dict(type='PackTracks'),
]
test_pipeline = [dict(type='CutTracks', max_gap_s=0.5), features, dict(type='PackTracks')]
data = dict(
    samples_per_gpu=96,
    train=dict(window=100, overlap=50, pipeline=train_pipeline),
    val=dict(window=100, overlap=50, pipeline=test_pipeline),
    test=dict(window=100, overlap=50, pipeline=test_pipeline),
)
optimizer = dict(lr=1e-3)  # labels on every frame give steadier gradients than anchors
# A frame classifier's scores are means of probabilities over what was chosen already: all of them count.
evaluation = dict(metric=dict(type='TemporalDetection', score_threshold=0.0))
fp16 = dict(loss_scale='dynamic')
optimize = dict(micro_batch='auto')  # as V7's
