from mmopt.engine.micro_batch.remedies import DoesNotFitError, remedies


def flags(**cfg) -> list[str]:
    return [line.removeprefix('  - ').split(':')[0] for line in remedies(cfg).splitlines()[1:]]


def test_what_the_config_uses_already_is_not_advised():
    image = 'a smaller image, clip or window in the data pipeline'
    assert flags(optim_wrapper=dict(type='OptimWrapper')) == [
        '--options optimize.checkpointing=blocks',
        '--precision bf16 (or fp16)',
        image,
        '--options optimize.offload=True',
        '--options optimize.optimizer_8bit=True',
    ]
    half = dict(type='AmpOptimWrapper')
    assert flags(optim_wrapper=half, optimize=dict(checkpointing=True, offload=True, optimizer_8bit=True)) == [image]


def test_the_error_says_what_the_device_said_and_what_would_help():
    error = DoesNotFitError('CUDA out of memory.', 'What would help')
    assert str(error) == 'Out of memory with a single sample (micro-batch 1): CUDA out of memory.\nWhat would help'
    assert error.failure == 'CUDA out of memory.'
