"""ST-GCN on the keypoints alone: no video is opened."""

model = dict(
    type='MultiViewRecognizer',
    num_classes='=len(classes) or 9',
    keypoint_encoder=dict(type='STGCN'),
    fusion=dict(type='FeatureConcatFusion', drop_rate=0.5),
    data_preprocessor=dict(type='VideoPreprocessor'),
)
