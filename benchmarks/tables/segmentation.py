"""BiSeNetV2 on Cityscapes: each switch of the guide alone, and all together, with the gains that it states.

Small enough for a CPU with ``--demo --options data.train.pipeline.3.crop_size=(64,128)``: batches, workers and
precision, which are compared, stay as they are.
"""

title = 'BiSeNetV2 with the boundary loss on Cityscapes: each switch alone, then all together'
source = 'the guide to the segmentation baseline'
config = 'configs/baseline/bisenetv2_cityscapes.py'
make_demo = 'python tools/datasets/make_demo.py cityscapes --num-train 512'
demo_options = ['data.data_root=data/demo/cityscapes']
# Images with fine labels.
num_train = 2975
num_val = 500
fp16 = ["fp16.loss_scale='dynamic'"]
workers = [
    'data.workers_per_gpu=8', 'data.pin_memory=True', 'data.persistent_workers=True', 'data.prefetch_factor=2',
]  # fmt: skip
# The baseline's workers are neither kept nor pinned: the guide counts all of it as one switch.
plain_loader = ['data.pin_memory=False', 'data.persistent_workers=False']
cudnn = ['deterministic=False', 'cudnn_benchmark=True']
rows = [
    dict(name='baseline: batch 32, FP32, deterministic', options=plain_loader),
    dict(name='FP16', options=[*plain_loader, *fp16], claimed=dict(speed=(2.0, 2.0), memory_ratio=(0.5, 0.5))),
    dict(name='BF16', options=plain_loader, precision='bf16'),  # not in the guide: no loss scale
    dict(name='8 workers, pinned, kept, 2 ahead', options=workers, claimed=dict(speed=(1.2, 1.3))),
    dict(name='8 workers alone', options=[*plain_loader, 'data.workers_per_gpu=8']),
    dict(
        name='pinned memory alone',
        options=['data.pin_memory=True', 'data.persistent_workers=False'],
        needs_gpu='pinned memory is for copies to one',
    ),
    dict(name='kept workers alone', options=['data.pin_memory=False', 'data.persistent_workers=True']),
    dict(name='4 batches ahead alone', options=[*plain_loader, 'data.prefetch_factor=4']),
    dict(
        name='cuDNN benchmark, not deterministic',
        options=[*plain_loader, *cudnn],
        claimed=dict(speed=(1.05, 1.1)),
        needs_gpu='cuDNN is its library',
    ),
    dict(name='batch 64', options=[*plain_loader, 'data.samples_per_gpu=64'], claimed=dict(speed=(1.1, 1.2))),
    # No figure in the guide: a step of 32 in the memory of 16.
    dict(
        name='batch 16, 2 accumulated',
        options=[*plain_loader, 'data.samples_per_gpu=16', 'runner.accumulative_counts=2'],
    ),
    dict(name='torch.compile', options=[*plain_loader, 'optimize.compile=True']),
    dict(name='distance maps made each time', options=[*plain_loader, 'data.train.pipeline.2.cache_dir=None']),
    dict(name='decoded images on disk', options=[*plain_loader, "data.cache='disk'"]),
    dict(name='whole set in memory, 0 workers', options=["data.cache='ram'", 'data.workers_per_gpu=0']),
    dict(name='logits enlarged again in backward', options=[*plain_loader, 'model.recompute_logits=True']),
    dict(name='evaluation at one scale', options=[*plain_loader, 'model.eval_scales=[1.0]', 'model.eval_flip=False']),
    dict(
        name='fast: FP16, batch 64, workers, cuDNN',
        config='configs/baseline/bisenetv2_cityscapes_fast.py',
        claimed=dict(speed=(2.0, 3.0), utilization=(0.8, 0.9)),
    ),
    dict(
        name='low memory: FP16, 2 accumulated, logits enlarged again',
        config='configs/baseline/bisenetv2_cityscapes_low_memory.py',
        claimed=dict(memory_ratio=(0.5, 0.5)),
    ),
    dict(
        name='max: FP16, batch 128, 16 workers',
        config='configs/baseline/bisenetv2_cityscapes_max.py',
        claimed=dict(speed=(2.0, 3.0)),
    ),
    dict(
        name='all: fast, compiled, decoded images on disk',
        config='configs/baseline/bisenetv2_cityscapes_fast.py',
        options=['optimize.compile=True', "data.cache='disk'"],
        claimed=dict(speed=(2.0, 3.0)),
    ),
    dict(
        name='all in BF16',
        config='configs/baseline/bisenetv2_cityscapes_fast.py',
        options=['optimize.compile=True', "data.cache='disk'"],
        precision='bf16',
    ),
]
