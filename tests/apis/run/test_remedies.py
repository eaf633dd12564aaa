import logging
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmopt.apis.run import train as run
from mmopt.apis.run.remedies import estimate_remedies, format_remedies, with_estimates
from mmopt.engine.micro_batch import DoesNotFitError
from mmopt.utils.memory import GIB
from mmopt.utils.precision import cpu_device, cuda_device


@pytest.fixture
def estimate():
    """Half precision halves what one sample takes, checkpointing leaves a quarter."""

    def _estimate(config, *, batch_sizes, precisions, checkpointings):
        assert Config.fromfile(config).model.type == 'Net'
        assert batch_sizes == [1]
        cases = []
        for precision in precisions:
            for checkpointing in checkpointings or ['config']:
                share = (1 if precision == 'fp32' else 0.5) * (0.25 if checkpointing == 'blocks' else 1)
                parts = dict(activations=int(6 * GIB * share), optimizer=GIB)
                cases.append(
                    dict(precision=precision, checkpointing=checkpointing, reserved=int(8 * GIB * share), parts=parts)
                )
        return SimpleNamespace(cases=tuple(cases))

    return _estimate


def config(**changes) -> Config:
    return Config(dict(model=dict(type='Net'), optim_wrapper=dict(type='OptimWrapper')) | changes)


def test_remedies_are_ranked_by_what_they_save(estimate):
    assert estimate_remedies(config(), estimate, cuda_device((8, 0))).splitlines() == [
        'One sample takes an estimated 8.00 GiB. What would help, most first:',
        '  - --precision bf16 --options optimize.checkpointing=blocks: 1.00 GiB (88% less)',
        '  - --options optimize.checkpointing=blocks: 2.00 GiB (75% less)',
        '  - an image of half the height and width: 3.50 GiB (56% less)',
        '  - --precision bf16: 4.00 GiB (50% less)',
        '  - --options optimize.optimizer_8bit=True: 7.25 GiB (9% less)',
    ]


def test_what_the_run_uses_already_is_left_out(estimate):
    half = dict(type='AmpOptimWrapper', dtype='float16')
    text = estimate_remedies(
        config(optim_wrapper=half, optimize=dict(checkpointing=True)), estimate, cuda_device((8, 0))
    )
    assert 'bf16' not in text
    assert 'checkpointing' not in text
    assert 'an estimated 4.00 GiB' in text


def test_only_a_precision_that_the_device_computes_itself_is_estimated(estimate):
    assert '--precision fp16' in estimate_remedies(config(), estimate, cuda_device((7, 5)))
    assert '--precision' not in estimate_remedies(config(), estimate, cpu_device({}))


def test_what_saves_nothing_is_left_out():
    assert format_remedies(GIB, dict(a=GIB, b=2 * GIB)).count('\n') == 0


def test_an_estimate_that_fails_leaves_the_error_as_it_was(estimate):
    error = DoesNotFitError('CUDA out of memory.', 'advice')
    assert 'CUDA out of memory.\nOne sample takes' in str(with_estimates(error, config(), estimate))

    def fail(*args, **kwargs):
        raise RuntimeError('the estimating process ended')

    assert with_estimates(error, config(), fail) is error


def test_a_run_that_does_not_fit_ends_with_the_ranked_remedies(monkeypatch, tmp_path, estimate):
    def train():
        raise DoesNotFitError('CUDA out of memory.', 'advice')

    runner = SimpleNamespace(
        train=train,
        use_datasets=lambda datasets: None,
        register_hook=lambda hook: None,
        logger=logging.getLogger(__name__),
        work_dir=tmp_path,
        _train_loop={},
    )
    for name, value in dict(
        build_runner=runner, _look=SimpleNamespace(datasets={}), describe_run='', start_of=None
    ).items():
        monkeypatch.setattr(run, name, lambda *args, value=value: value)
    monkeypatch.setattr(run, 'estimate_memory', estimate)
    with pytest.raises(DoesNotFitError, match='CUDA out of memory.\nOne sample takes an estimated 8.00 GiB'):
        run.train(config())
