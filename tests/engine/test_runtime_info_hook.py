from types import SimpleNamespace

import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapperDict

from mmopt.engine.hooks import RuntimeInfoHook
from mmopt.engine.optim import OptimWrapper


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
