# BiSeNetV2 for the 19 classes of Cityscapes, with hard pixel mining and a boundary loss: 5.23 M parameters.
num_classes = '=len(classes) or 19'  # read last: `classes` of the whole config
model = dict(
    type='BoundarySegmentor',
    backbone=dict(type='BiSeNetV2', norm_cfg=dict(type='BN')),  # between GPUs: norm_cfg=dict(type='SyncBN')
    head=dict(type='SegmentationHead', in_channels=128, channels=1024, num_classes=num_classes),
    # For the loss alone; the second convolution of each has the square of its stride for channels.
    auxiliary_heads=dict(
        stem=dict(type='SegmentationHead', in_channels=16, channels=128, num_classes=num_classes, refine_channels=16),
        s3=dict(type='SegmentationHead', in_channels=32, channels=128, num_classes=num_classes, refine_channels=64),
        s4=dict(
            type='SegmentationHead',
            in_channels=64,
            channels=128,
            num_classes=num_classes,
            refine_channels=256,
        ),
        s5=dict(
            type='SegmentationHead',
            in_channels=128,
            channels=128,
            num_classes=num_classes,
            refine_channels=1024,
        ),
    ),
    ohem_threshold=0.7,  # pixels whose true class is less probable are hard
    ohem_min_share=1 / 16,
    edge_loss_factor=5.0,
    distance_loss_weight=10.0,
    data_preprocessor=dict(
        type='ImagePreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),  # RGB
    ),
)
