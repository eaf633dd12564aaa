"""Cityscapes in its own layout: leftImg8bit and gtFine unpacked into data/cityscapes."""

dataset_type = 'CityscapesDataset'
data_root = 'data/cityscapes'
crop_size = (512, 1024)  # height and width
# The loader decodes and cuts; colors are distorted and normalized on the device.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadSegmentationLabel'),
    dict(type='LoadBorderDistance', cache_dir='cache/distance'),  # 4 MiB per label, made in the first epoch
    dict(type='RandomScaleCropFlip', crop_size='=crop_size', scale_range=(0.25, 2.0)),
    dict(type='BoundaryRegions', edge_width=2, near=0.3),
    dict(type='DrawPhotometric'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadSegmentationLabel'),
    dict(type='LoadBorderDistance', cache_dir='cache/distance'),
    dict(type='BoundaryRegions', edge_width=2, near=0.3),  # the edge scores' band
    dict(type='PackInputs'),
]
data = dict(
    samples_per_gpu=32,
    workers_per_gpu=4,
    train=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
    val=dict(type=dataset_type, data_root=data_root, split='val', pipeline=test_pipeline, test_mode=True),
    test=dict(type=dataset_type, data_root=data_root, split='val', pipeline=test_pipeline, test_mode=True),
)
