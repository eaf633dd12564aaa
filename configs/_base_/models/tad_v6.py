"""V6: the frame classifier that V7 is compared with."""

model = dict(
    type='FrameClassifier',
    encoder=dict(
        type='ConvBiLSTM',
        in_channels=288,  # 72 keypoints x (x, y, speed, acceleration); must equal what the pipeline makes
        conv_channels=(128, 256),
        pool=1,  # one output per frame
        hidden_size=256,
        num_layers=2,
        dropout=0.3,
    ),
    num_classes='=len(classes) or 37',
    smooth=9,  # frames: 0.3 s at 30 fps, the length of the shortest behaviors
    min_frames=5,
)
