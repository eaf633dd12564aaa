# The BEV baseline small enough to learn on two CPU cores in minutes, on the built-in street world.
#   python tools/datasets/make_demo.py nuscenes && python tools/train.py configs/demo/lss_swin_nuscenes.py
_base_ = [
    '../_base_/models/lss_swin.py',
    '../_base_/datasets/nuscene.py',
    '../_base_/default_runtime_auto.py',
    '../_base_/schedules/schedule_200k_nuscenes.py',
]
data_root = 'data/demo/nuscenes'
rows = dict(start=0.49, stop=0.84)  # of the image's height, from half a degree above the horizon: ground, not sky
size = (320, 128)  # width and height of the network input: a twelfth of the pixels of the baseline
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBEVLabel'),
    dict(type='CropRows', **rows),
    dict(type='Resize', img_scale=size, keep_ratio=False),
    # Milder than the baseline's: 64 images teach colors first.
    dict(
        type='DrawPhotometric',
        brightness_delta=16,
        contrast_range=(0.8, 1.2),
        saturation_range=(0.8, 1.2),
        hue_delta=5,
    ),
    dict(type='RandomMirror'),
    dict(type='PackBEVInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBEVLabel'),
    dict(type='CropRows', **rows),
    dict(type='Resize', img_scale=size, keep_ratio=False),
    dict(type='PackBEVInputs'),
]
data = dict(
    samples_per_gpu=2,  # a short run is short of steps: 560 of these learned as much as 280 of 4
    workers_per_gpu=1,
    train=dict(data_root=data_root, pipeline=train_pipeline),
    val=dict(data_root=data_root, pipeline=test_pipeline),
    test=dict(data_root=data_root, pipeline=test_pipeline),
    val_dataloader=dict(samples_per_gpu=8),
    test_dataloader=dict(samples_per_gpu=8),
)
# Share of the demo's cells that count which each class covers: drivable area, crossing, walkway, car park; car, truck,
# bus, trailer, construction vehicle; pedestrian, motorcycle, bicycle, traffic cone, barrier.
priors = (
    0.53273, 0.05025, 0.18489, 0.05755, 0.03245, 0.01764, 0.0187, 0.01083, 0.00551, 0.00265, 0.00111, 0.00072, 0.00057,
    0.00158,
)  # fmt: skip
model = dict(
    backbone=dict(
        embed_dims=48,
        depths=(2, 2),  # (2, 4) had an mIoU of 0.115 where this had 0.124, for as many operations
        num_heads=(2, 4),
        out_indices=(1,),  # stride 8: 16x40 places
        window_size=8,  # divides 32x80 and 16x40: 7 computes on padding
        position_size=size[::-1],
    ),
    neck=dict(
        in_channels=96,
        image_size=size[::-1],
        stride=8,
        x_bound=(-25.0, 25.0, 1.0),
        z_bound=(1.0, 50.0, 1.0),
        depth_bound=(1.0, 50.0, 2.0),
        # The paper's neck spends most of a short training on finding the ground; this one begins there.
        camera_height_m=1.51,
        pool='mean',
        exact_reference=False,
    ),
    head=dict(
        channels=(16, 8),
        num_blocks=(2, 1),
        upsample=(True, True),  # cells of 1 m become 0.25 m
        norm_cfg=dict(num_groups=8),
        priors=priors,
    ),
)
# The head takes large steps; a transformer from scratch breaks at them. 0.98: a short run forgets its start.
optimizer = dict(
    lr=4e-3,
    betas=(0.9, 0.98),
    weight_decay=0.05,
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.2))),
)
optimizer_config = dict(grad_clip=dict(max_norm=1.0))
lr_config = dict(warmup_iters=20)
runner = dict(max_iters=640)
checkpoint_config = dict(interval=320)
evaluation = dict(interval=320)
log_config = dict(interval=20)
# The run must see far more in the images than anybody can say without looking at them.
expect = dict(metric='mIoU', baseline=dict(type='bev_image_blind'), margin=0.03)
seed = 0
