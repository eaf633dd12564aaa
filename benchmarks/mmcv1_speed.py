"""What the layer of mmcv 1.x costs: adapters per iteration, operators in a step; for benchmarks/mmcv1_part.py."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmcv1_steps import BATCHES, base_model
from mmcv_ops import timed_extension
from torch import nn

from mmopt.engine.loops.step import TrainStep, sum_losses
from mmopt.engine.optim import OptimWrapper
from mmopt.mmcv1.adapt.model import adapt_model

REPEATS = 5


class _Toy(nn.Module):
    """A model of mmcv 1.x whose arithmetic costs next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.fp16_enabled = False
        self.layer = nn.Linear(1, 1)

    def forward(self, img: torch.Tensor, return_loss: bool = True) -> dict[str, torch.Tensor]:
        return dict(loss_a=self.layer(img).mean())

    def train_step(self, data: dict[str, Any], optimizer: Any) -> dict[str, Any]:
        loss, log_vars = self._parse_losses(self(**data))
        return dict(loss=loss, log_vars=log_vars, num_samples=len(data['img']))

    def _parse_losses(self, losses: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return sum_losses(losses)


class _Native(nn.Module):
    """The same as a model of mmopt."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, img: torch.Tensor, mode: str) -> dict[str, torch.Tensor]:
        return dict(loss_a=self.layer(img).mean())


def measure(packages: Path) -> dict[str, Any]:
    """Return microseconds per iteration, and the share of a step of Faster R-CNN R50-FPN that passes in our ops."""
    batch = dict(img=torch.ones(2, 1))
    native, adapted = (_step_us(model, batch) for model in (_Native(), adapt_model(_Toy())))
    share, step_ms = _ops_share(packages)
    return dict(
        adapters_us_per_iteration=round(adapted - native, 1),
        faster_rcnn_step_ms=round(step_ms),
        share_of_it_in_our_ops=f'{share:.1%}',
    )


def _step_us(model: Any, batch: dict[str, Any], number: int = 1000) -> float:
    step = TrainStep(model, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0)))
    return 1e6 * min(_seconds(lambda: [step(batch) for _ in range(number)]) / number for _ in range(REPEATS))


def _seconds(run: Callable[[], Any]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def _ops_share(packages: Path) -> tuple[float, float]:
    model = base_model('mmdet', 'faster_rcnn_r50_fpn', packages)
    model.train()
    in_ops = timed_extension('cpu')
    shares, steps = [], []
    for _ in range(REPEATS):
        in_ops.clear()
        batch = BATCHES['mmdet']((320, 320))
        batch = {key: value for key, value in batch.items() if key not in ('gt_masks', 'proposals')}

        def run(batch: dict[str, Any] = batch) -> None:
            sum_losses(model.forward_train(**batch))[0].backward()

        steps.append(_seconds(run))
        shares.append(sum(in_ops.values()) / steps[-1])
    return statistics.median(shares), 1e3 * statistics.median(steps)
