"""Settings of the BEV baseline that its guide recommends, with the gains that it states for a card of 32.6 GB."""

title = 'Lift-Splat-Shoot with Swin-T on nuScenes: batch size, FP16, accumulation'
source = 'the guide to the BEV baseline, for one card of 32.6 GB'
config = 'configs/baseline/lss_swin_nuscenes.py'
make_demo = 'python tools/datasets/make_demo.py nuscenes'
demo_options = ['data.data_root=data/demo/nuscenes']
# Key frames of nuScenes' training and validation scenes, seen by the front camera.
num_train = 28130
num_val = 6019
fp16 = ['fp16.loss_scale=512.']
# Half the iterations, so that the hours are those of the same samples; twice the rate, as the guide says.
batch_8 = [
    'data.samples_per_gpu=8',
    'optimizer.lr=4e-4',
    'runner.max_iters=100000',
    'lr_config.warmup_iters=750',
    'checkpoint_config.interval=5000',
    'evaluation.interval=5000',
]
rows = [
    dict(name='batch 4', claimed=dict(memory_gib=(10.5, 10.5))),
    dict(name='batch 8', options=batch_8, claimed=dict(speed=(1.15, 1.15))),
    dict(name='batch 4, FP16', options=fp16, claimed=dict(speed=(1.5, 2.0), metric_loss=(0.0, 0.005))),
    dict(
        name='batch 8, FP16',
        options=[*batch_8, *fp16],
        claimed=dict(speed=(2.0, 3.0), memory_gib=(18.0, 20.0), metric_loss=(0.0, 0.005)),
    ),
    # The step of batch 8 in the memory of batch 4: the guide names no figure.
    dict(name='batch 4, 2 accumulated', options=['runner.accumulative_counts=2', 'optimizer.lr=4e-4']),
    # Not in the guide: the original, which computes every block twice; no loss scale to choose; what adds to it.
    dict(name='batch 4, blocks recomputed', options=['model.backbone.with_cp=True']),
    dict(name='batch 4, BF16', precision='bf16'),
    dict(
        name='batch 4, BF16, channels_last, fused AdamW',
        options=['optimize.channels_last=True', 'optimize.fused_optimizer=True'],
        precision='bf16',
    ),
]
