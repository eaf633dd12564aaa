"""V7: convolutions, BiLSTM and anchors over windows of 1000 frames."""

model = dict(
    type='IntervalDetector',
    encoder=dict(
        type='ConvBiLSTM',
        in_channels=284,  # 71 keypoints x (x, y, speed, acceleration); must equal what the pipeline makes
        conv_channels=(128, 256),
        pool=2,  # twice: 1000 frames become 250 positions
        hidden_size=256,
        num_layers=2,
        dropout=0.3,
    ),
    num_classes='=len(classes) or 37',
    window=1000,
    # 10 frames are 1/3 s of most labs' 30 fps, 240 are 8 s; tools/fit_anchors.py proposes others for other data.
    anchor_lengths=(10, 30, 60, 120, 240),
    positive_iou=0.5,
    negative_iou=0.4,
    # Weak candidates count for mAP; the metric takes those above 0.5 for everything else.
    score_threshold=0.05,
    nms_iou=0.3,
)
