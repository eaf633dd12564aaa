# nuScenes in the single-camera BEV layout (see mmopt/datasets/bev/nuscenes.py).
dataset_type = 'NuScenesBEVDataset'
data_root = 'data/nuscenes'
img_scale = (800, 600)  # width and height of the network's input; read last, by the pipelines and the model

# The loader decodes and resizes; distortion and normalization happen on the device, in the model's data preprocessor.
# mmcv-1 pipelines (PhotoMetricDistortion, Normalize, DefaultFormatBundle, Collect) run as well, and get the same.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBEVLabel'),
    # 1600x900 is squeezed to 4:3: what the published baseline was trained on. The camera matrix is scaled alike.
    dict(type='Resize', img_scale='=img_scale', keep_ratio=False),
    dict(type='DrawPhotometric'),
    dict(type='PackBEVInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBEVLabel'),
    dict(type='Resize', img_scale='=img_scale', keep_ratio=False),
    dict(type='PackBEVInputs'),
]
data = dict(
    samples_per_gpu=4,  # the published baseline
    # One worker makes 190 samples per second from JPEGs, 50 from PNGs (1600x900): four keep any single GPU busy.
    workers_per_gpu=4,
    train=dict(
        type=dataset_type,
        data_root=data_root,
        img_dir='img_dir/train',
        ann_dir='ann_bev_dir/train',
        pipeline=train_pipeline,
    ),
    val=dict(
        type=dataset_type,
        data_root=data_root,
        img_dir='img_dir/val',
        ann_dir='ann_bev_dir/val',
        pipeline=test_pipeline,
        test_mode=True,
    ),
    test=dict(
        type=dataset_type,
        data_root=data_root,
        img_dir='img_dir/val',
        ann_dir='ann_bev_dir/val',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
