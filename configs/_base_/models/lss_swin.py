# Lift-Splat-Shoot with Swin-T for one 600x800 camera image: 14 bird's-eye-view maps of 196x200 cells of 0.25 m.
model = dict(
    type='LSSSegmentor',
    # Path of the official swin_tiny_patch4_window7_224.pth goes into backbone.pretrained; None trains from scratch.
    backbone=dict(
        type='SwinTransformer',
        embed_dims=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        mlp_ratio=4,
        qkv_bias=True,
        patch_norm=True,
        drop_path_rate=0.0,
        out_indices=(3,),  # 768 channels at stride 32: 19x25
        with_cp=False,  # the original recomputes every block whether memory is short or not
        pretrained=None,
    ),
    neck=dict(
        type='LiftSplatNeck',
        in_channels=768,
        out_channels=64,
        image_size='=reversed(img_scale) or (600, 800)',
        # (start, stop, step) in meters, camera frame: x right, y down, z forward.
        x_bound=(-25.0, 25.0, 0.5),
        y_bound=(-10.0, 10.0, 20.0),
        z_bound=(1.0, 50.0, 0.5),
        depth_bound=(1.0, 50.0, 1.0),
        exact_reference=True,  # the published geometry with its quirks; False is the better one
    ),
    head=dict(
        type='PyramidHead',
        in_channels=64,
        channels=(128, 64),
        num_blocks=(4, 4),
        upsample=(False, True),  # 98x100 cells of 0.5 m become 196x200 of 0.25 m
        norm_cfg=dict(type='GN', num_groups=16),
        # Share of the cells that each class covers in nuScenes' training split.
        priors=(
            0.44679,  # drivable_area
            0.02407,  # ped_crossing
            0.14491,  # walkway
            0.02994,  # carpark
            0.02086,  # car
            0.00477,  # truck
            0.00156,  # bus
            0.00189,  # trailer
            0.00084,  # construction_vehicle
            0.00119,  # pedestrian
            0.00019,  # motorcycle
            0.00012,  # bicycle
            0.00031,  # traffic_cone
            0.00176,  # barrier
        ),
    ),
    data_preprocessor=dict(
        type='ImagePreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),  # RGB
    ),
    uncertainty_weight=0.001,
)
