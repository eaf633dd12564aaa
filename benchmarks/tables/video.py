"""The memory guide of the driver task: each measure by itself, then the presets, for GPUs of 8, 6 and 4 GB."""

title = 'Transformer on three views: FP16, accumulation, checkpointing, image size, workers'
source = 'the memory guide to the driver task: 14 GB, 7 with FP16, 4 with accumulation, 2 with both'
config = 'configs/baseline/video_transformer_driver.py'
make_demo = 'python tools/datasets/make_demo.py driver'
estimate = True  # of a GPU's memory, as it would be with the options given
demo_options = ['data.data_root=data/demo/driver']
accumulation = ['data.samples_per_gpu=1', 'runner.accumulative_counts=4']
checkpointing = ['optimize.checkpointing=blocks']


def img_size(pixels):
    return [f'data.{split}.img_size={pixels}' for split in ('train', 'val', 'test')]


rows = [
    dict(name='batch 4', claimed=dict(memory_gib=(14.0, 14.0))),
    dict(name='+ FP16', precision='fp16', claimed=dict(memory_ratio=(0.5, 0.5), memory_gib=(7.0, 7.0))),
    dict(name='+ BF16', precision='bf16'),  # where FP16 is unstable
    dict(
        name='+ accumulation, 1 x 4',
        options=accumulation,
        claimed=dict(memory_ratio=(0.25, 0.25), memory_gib=(4.0, 4.0)),
    ),
    dict(
        name='+ checkpointing',
        options=checkpointing,
        claimed=dict(memory_ratio=(0.5, 0.7), speed=(0.8, 0.9)),
    ),
    dict(name='+ FP16, accumulation', precision='fp16', options=accumulation, claimed=dict(memory_gib=(2.0, 2.0))),
    dict(name='+ all three', precision='fp16', options=[*accumulation, *checkpointing]),
    dict(name='batch in parts of 1', options=['optimize.micro_batch=1']),  # as accumulation, within an iteration
    dict(name='160 pixels', options=img_size(160), claimed=dict(memory_ratio=(0.52, 0.52))),
    dict(name='112 pixels', options=img_size(112), claimed=dict(memory_ratio=(0.25, 0.25))),
    # The guide counts 2 GB of host memory for each of the four workers.
    dict(name='no workers', options=['data.workers_per_gpu=0']),
    dict(name='views joined early', options=['model.early_fusion=add']),
    dict(
        name='preset standard',
        config='configs/baseline/video_transformer_driver_standard.py',
        claimed=dict(memory_gib=(0.0, 8.0), host_gib=(0.0, 16.0)),
    ),
    dict(
        name='preset aggressive',
        config='configs/baseline/video_transformer_driver_aggressive.py',
        claimed=dict(memory_gib=(0.0, 4.0), host_gib=(0.0, 6.0)),
    ),
    dict(
        name='preset extreme',
        config='configs/baseline/video_transformer_driver_extreme.py',
        claimed=dict(memory_gib=(0.0, 3.0), host_gib=(0.0, 4.0)),
    ),
]
