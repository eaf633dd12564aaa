"""A training run as mmcv 1.7.2 drives it, retold in plain PyTorch: one parameter group per parameter, hooks in turn.

Nothing of mmopt is used but the toy model's loss. Learning rates and momenta come from `mmcv1_reference`.
"""

import copy
from types import SimpleNamespace

import torch
from torch import nn

from tests.engine.mmcv1_reference import ReferenceHook


class LiteralRun:
    """Train on given batches.

    `options` maps each parameter's name to its own (lr, weight decay), as mmcv's constructor would have set them.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: dict,
        options: dict,
        hooks: list[ReferenceHook],
        *,
        epoch_length: int,
        max_iters: int,
        by_epoch: bool,
        cumulative_iters: int = 1,
        grad_clip: dict | None = None,
        ema: dict | None = None,
    ) -> None:
        self.model = model
        groups = [
            dict(params=[param], lr=options[name][0], weight_decay=options[name][1])
            for name, param in model.named_parameters()
        ]
        settings = dict(optimizer)
        self.optimizer = getattr(torch.optim, settings.pop('type'))(groups, **settings)
        self.hooks = hooks
        self.by_epoch, self.cumulative_iters, self.grad_clip, self.ema = by_epoch, cumulative_iters, grad_clip, ema
        self.averages = {name: param.detach().clone() for name, param in model.named_parameters()}
        self.run = SimpleNamespace(
            groups=self.optimizer.param_groups, iter=0, epoch=0, epoch_length=epoch_length, max_iters=max_iters,
            max_epochs=max_iters // epoch_length,
        )  # fmt: skip
        self.settings: list[dict[str, tuple[float, float]]] = []
        self.losses: list[float] = []
        for hook in hooks:
            hook.before_run(self.run)

    def train(self, batches: list[dict], stop: int | None = None) -> None:
        """Run up to iteration `stop`; a later call goes on, without gradients that waited for their step."""
        run = self.run
        self.model.zero_grad()
        while run.iter < (stop or run.max_iters):
            run.epoch = run.iter // run.epoch_length if self.by_epoch else 0
            for hook in self.hooks:
                if self.by_epoch and run.iter % run.epoch_length == 0:
                    hook.before_epoch(run)
                hook.before_iter(run)
            self._note()
            self._iterate(batches[run.iter])
            run.iter += 1

    def _note(self) -> None:
        momentum = ReferenceHook('momentum', 'Step', {})
        names = [name for name, _ in self.model.named_parameters()]
        groups = self.optimizer.param_groups
        self.settings.append({n: (g['lr'], momentum.read(g)) for n, g in zip(names, groups, strict=True)})

    def _iterate(self, batch: dict) -> None:
        i, run, every = self.run.iter, self.run, self.cumulative_iters
        loss = self.model(**batch, mode='loss')['loss_fit']
        self.losses.append(loss.item())
        rest = run.max_iters % every
        (loss / (every if i < run.max_iters - rest else rest)).backward()
        if (i + 1) % every == 0 or i + 1 == run.max_iters:
            if self.grad_clip:
                nn.utils.clip_grad_norm_(self.model.parameters(), **self.grad_clip)
            self.optimizer.step()
            self.model.zero_grad()
        if self.ema and i % self.ema['interval'] == 0:
            share = min(self.ema['momentum'] ** self.ema['interval'], (1 + i) / (self.ema['warm_up'] + i))
            for name, param in self.model.named_parameters():
                self.averages[name].mul_(1 - share).add_(param.detach(), alpha=share)

    def checkpoint(self) -> dict:
        """Return what mmcv 1.7.2's runner would save now."""
        state = dict(self.model.state_dict())
        if self.ema:
            state |= {'ema_' + name.replace('.', '_'): value for name, value in self.averages.items()}
        done = self.run.iter
        counted = dict(iter=done - 1, epoch=1)
        if self.by_epoch:
            counted = dict(iter=done, epoch=done // self.run.epoch_length)
        runner = 'EpochBasedRunner' if self.by_epoch else 'IterBasedRunner'
        meta = counted | dict(
            mmcv_version='1.7.2', time='Tue Jan  3 10:00:00 2023', seed=5, config=f"runner = dict(type='{runner}')\n"
        )
        return copy.deepcopy(dict(meta=meta, state_dict=state, optimizer=self.optimizer.state_dict()))
