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
batch_8 = ['data.samples_per_gpu=8', 'optimizer.lr=4e-4']
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
    dict(name='batch 4, BF16', precision='bf16'),  # not in the guide: no loss scale to choose
]
