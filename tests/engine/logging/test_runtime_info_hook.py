from types import SimpleNamespace

import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapperDict

from mmopt.engine.hooks import RuntimeInfoHook
from mmopt.engine.optim import OptimWrapper
from tests.engine.test_runner import build
from tests.engine.toy import toy_config


def wrapper(lr: float) -> OptimWrapper:
    return OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr))


def logged(optim_wrapper) -> dict[str, float]:
    hub = MessageHub('rates')
    runner = SimpleNamespace(message_hub=hub, iter=0, max_iters=1, optim_wrapper=optim_wrapper)
    hook = RuntimeInfoHook()
    hook.before_train_iter(runner, 0)
    runner.hooks = []
    hook.after_train_iter(runner, 0)
    hook.flush(runner)
    return {key: value.current() for key, value in hub.log_scalars.items()}


def test_one_optimizer_logs_its_rate():
    assert logged(wrapper(0.5)) == {'train/lr': 0.5}


def test_several_optimizers_log_one_rate_each():
    both = OptimWrapperDict(generator=wrapper(0.5), critic=wrapper(0.25))
    assert logged(both) == {'train/generator.lr': 0.5, 'train/critic.lr': 0.25}


def test_no_history_grows_with_the_run(tmp_path):
    """Each update of MMEngine's histories copies them, and every checkpoint holds them."""
    hooks = dict(runtime_info=dict(type='RuntimeInfoHook', max_history=3))
    runner = build(toy_config(tmp_path, max_iters=8, default_hooks=hooks))
    runner.train()
    lengths = {key: len(value.data[0]) for key, value in runner.message_hub.log_scalars.items() if 'train/' in key}
    assert {'train/time', 'train/data_time', 'train/loss', 'train/lr'} <= lengths.keys()
    assert max(lengths.values()) <= 4  # one reading of memory per log line
