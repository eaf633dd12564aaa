from mmopt.engine.micro_batch.remedies import DoesNotFitError, remedies
from mmopt.utils.precision import cpu_device, cuda_device

GPU, AVX2 = cuda_device((8, 0)), cpu_device({})


def flags(device=GPU, **cfg) -> list[str]:
    return [line.removeprefix('  - ').split(':')[0] for line in remedies(cfg, device).splitlines()[1:]]


def test_what_the_config_uses_already_is_not_advised():
    image = 'a smaller image, clip or window in the data pipeline'
    assert flags(optim_wrapper=dict(type='OptimWrapper')) == [
        '--options optimize.checkpointing=blocks',
        '--precision bf16',
        image,
        '--options optimize.offload=True',
        '--options optimize.optimizer_8bit=True',
    ]
    half = dict(type='AmpOptimWrapper')
    assert flags(optim_wrapper=half, optimize=dict(checkpointing=True, offload=True, optimizer_8bit=True)) == [image]


def test_only_a_precision_that_the_device_computes_itself_is_advised():
    assert '--precision fp16' in flags(cuda_device((7, 5)))
    assert not any('--precision' in flag for flag in flags(AVX2))


def test_the_error_says_what_the_device_said_and_what_would_help():
    error = DoesNotFitError('CUDA out of memory.', 'What would help')
    assert str(error) == 'Out of memory with a single sample (micro-batch 1): CUDA out of memory.\nWhat would help'
    assert error.failure == 'CUDA out of memory.'
