"""Evaluation loops: predict a data set in the precision of the run, and measure in full precision."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import all_gather_object, broadcast, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.runner.base_loop import BaseLoop
from mmengine.runner.loops import _parse_losses, _update_losses
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mmopt.engine.loading.guarded import GuardedLoader
from mmopt.engine.loading.worker_death import worker_deaths_explained
from mmopt.engine.loops.measure import check_predictions, measure
from mmopt.engine.loops.step import unwrap
from mmopt.engine.micro_batch import Predictor
from mmopt.engine.parallel.fsdp import gathered
from mmopt.registry import LOOPS

__all__ = ['EvaluationLoop', 'EvaluationStopped', 'TestLoop', 'ValLoop', 'share_statistics']


class EvaluationStopped(Exception):
    """An evaluation was abandoned because a signal asked the run to stop.

    Args:
        signal_name: What asked, e.g. ``'SIGTERM'``.
    """

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name


def share_statistics(module: nn.Module) -> None:
    """Give every rank the BatchNorm statistics of rank 0, as mmcv does before an evaluation.

    Each rank gathers its own while training; without this the metrics would not be those of the checkpoint.
    """
    if get_world_size() == 1:
        return
    for part in module.modules():
        if isinstance(part, _BatchNorm) and part.track_running_stats:
            broadcast(part.running_mean, 0)
            broadcast(part.running_var, 0)


class EvaluationLoop(BaseLoop):
    """Predict a data set and compute its metrics; the training's random state stays as it was.

    Args:
        dataloader: The loader or its config.
        evaluator: The evaluator or its config.
        fp16: Predict in fp16 whatever the precision of the run.
    """

    mode: str

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
    ) -> None:
        super().__init__(runner, dataloader)
        dataset = self.dataloader.dataset
        self.fp16 = fp16
        self.evaluator = evaluator if isinstance(evaluator, Evaluator) else runner.build_evaluator(evaluator)
        self.evaluator.dataset_meta = getattr(dataset, 'metainfo', None)
        if self.evaluator.dataset_meta is not None:
            runner.visualizer.dataset_meta = self.evaluator.dataset_meta
        for metric in self.evaluator.metrics:
            if hasattr(metric, 'dataset'):
                metric.dataset = dataset
        self.metrics: dict[str, float] = {}
        """What the last run gave."""
        self.losses: dict[str, HistoryBuffer] = {}
        """Means of what a model returns as its last prediction, if that holds losses and nothing else."""
        self._predict: Predictor | None = None
        self.poll: Callable[[], str | None] | None = None
        """Tells between two batches whether a signal asks to stop; all ranks ask equally often."""

    def run(self) -> dict[str, float]:
        """Evaluate once.

        Returns:
            The metrics.

        Raises:
            EvaluationStopped: If a signal asked for it; the model is what it was before.
        """
        runner = self.runner
        module = unwrap(runner.model)
        devices = range(torch.cuda.device_count())
        runner.call_hook(f'before_{self.mode}')
        runner.call_hook(f'before_{self.mode}_epoch')
        share_statistics(module)
        module.eval()
        num_polls, poll = self._num_polls(), self.poll
        self._predict = None
        self.losses.clear()
        if isinstance(self.dataloader, GuardedLoader):
            self.dataloader.passes = 0  # every evaluation draws the same, also after a resume
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices),
            worker_deaths_explained(self.dataloader),
            gathered(module),
        ):
            for batch_idx, batch in enumerate(self.dataloader):
                self.run_iter(batch_idx, batch)
                if poll is not None and batch_idx < num_polls and (name := poll()) is not None:
                    self._abandon(name)
            self.metrics = measure(self.evaluator, len(self.dataloader.dataset), runner.logger.warning)
        if self.losses:
            self.metrics |= _parse_losses(self.losses, self.mode)
        runner.call_hook(f'after_{self.mode}_epoch', metrics=self.metrics)
        runner.call_hook(f'after_{self.mode}')
        return self.metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Predict one batch, with its hooks.

        Args:
            idx: Its place in the data set.
            data_batch: A batch as the loader gives it.
        """
        runner = self.runner
        runner.call_hook(f'before_{self.mode}_iter', batch_idx=idx, data_batch=data_batch)
        if self._predict is None:
            self._predict = Predictor(unwrap(runner.model), runner.logger, f'{self.mode}_step')
        # The model alone: under autocast a metric's matrix products would count in half precision.
        with runner.autocast('fp16' if self.fp16 else None):
            outputs = self._predict(data_batch)
        outputs, self.losses = _update_losses(outputs, self.losses)
        check_predictions(outputs, unwrap(runner.model), self.evaluator)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        runner.call_hook(f'after_{self.mode}_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)

    def _num_polls(self) -> int:
        if self.poll is None:
            return 0
        # Ranks may have one batch more or less than others.
        return min(all_gather_object(len(self.dataloader)))

    def _abandon(self, signal_name: str) -> None:
        for hook in self.runner.hooks:
            if isinstance(hook, EMAHook):
                hook.after_val_epoch(self.runner)  # the averaged weights are in the model's place
        raise EvaluationStopped(signal_name)


@LOOPS.register_module()
class ValLoop(EvaluationLoop):
    """Evaluate while training."""

    mode = 'val'


@LOOPS.register_module()
class TestLoop(EvaluationLoop):
    """Evaluate a trained model."""

    mode = 'test'
    __test__ = False  # not a test case to pytest
