"""Switches of the speed guide to BiSeNetV2, each alone and together, with the gains that it states."""

title = 'BiSeNetV2 on Cityscapes: the switches of the speed guide'
source = 'the speed guide to BiSeNetV2'
config = 'configs/baseline/bisenetv2_cityscapes.py'
make_demo = 'python tools/datasets/make_demo.py cityscapes'
demo_options = ['data.data_root=data/demo/cityscapes']
# Finely annotated images of Cityscapes.
num_train = 2975
num_val = 500
fp16 = ["fp16={'loss_scale': 'dynamic'}"]
loader = ['data.workers_per_gpu=8', 'data.prefetch_factor=2']
free = ['deterministic=False', 'cudnn_benchmark=True']
rows = [
    dict(name='batch 32, FP32, deterministic', claimed=dict(utilisation=(0.5, 0.6))),
    dict(name='FP16', options=fp16, claimed=dict(speed=(2.0, 2.0), memory_ratio=(0.5, 0.5))),
    dict(name='8 workers, prefetch 2', options=loader, claimed=dict(speed=(1.2, 1.3))),
    dict(name='cuDNN free to choose', options=free, claimed=dict(speed=(1.05, 1.1))),
    dict(
        name='batch 64',
        options=['data.samples_per_gpu=64', 'runner.max_iters=37500'],
        claimed=dict(speed=(1.1, 1.2)),
    ),
    dict(name='2 accumulated', options=['runner.accumulative_counts=2']),
    dict(name='compiled', options=[*free, 'optimize.compile=True']),
    dict(
        name='fewer evaluations and scales',
        options=['evaluation.interval=7500', 'model.eval_scales=(1.0,)', 'model.eval_flip=False'],
    ),
    dict(
        name='fast: all together, batch 64',
        config='configs/baseline/bisenetv2_cityscapes_fast.py',
        claimed=dict(speed=(2.0, 3.0), utilisation=(0.8, 0.9)),
    ),
    dict(name='low memory: 32 x 2, FP16', config='configs/baseline/bisenetv2_cityscapes_low_memory.py'),
    dict(name='max: batch 128, 16 workers', config='configs/baseline/bisenetv2_cityscapes_max.py'),
]
