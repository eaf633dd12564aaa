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


def test_a_text_that_can_mean_something_else_says_what():
    error = DoesNotFitError('cuDNN error: CUDNN_STATUS_NOT_SUPPORTED.', 'What would help')
    first, second, third = str(error).splitlines()
    assert first.endswith('CUDNN_STATUS_NOT_SUPPORTED.')
    assert 'no kernel for a type, shape or layout' in second
    assert 'optimize.channels_last=False' in second
    assert third == 'What would help'


def test_a_text_that_speaks_of_memory_means_memory():
    text = 'cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED'
    assert str(DoesNotFitError(text, '')) == f'Out of memory with a single sample (micro-batch 1): {text}'
