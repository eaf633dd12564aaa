"""Log every 50 iterations, as text, and as curves for TensorBoard."""

log_config = dict(
    interval=50,
    hooks=[
        dict(type='TextLoggerHook', by_epoch=False),
        dict(type='TensorboardLoggerHook', by_epoch=False),
    ],
)
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
# Inputs of one size: cuDNN may choose its fastest algorithms once.
cudnn_benchmark = True
# One OpenCV thread per worker; more of them fight over the cores.
opencv_num_threads = 0
# Where a process can fork and go on (Linux); elsewhere the run spawns its workers and says so in the log.
mp_start_method = 'fork'
