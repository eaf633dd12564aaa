"""Runners: MMEngine's, with our loops, loaders, checkpoints and process groups.

Only what MMEngine 0.10.7 cannot do is replaced: it fails to resume on today's torch, saves no random state, replays
the loader, asserts a GPU for AMP and calls CUDA when it starts a process group on a CPU.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook, ParamSchedulerHook
from mmengine.logging import MMLogger
from mmengine.runner import Priority
from mmengine.runner.base_loop import BaseLoop
from torch import nn
from torch.utils.data import DataLoader

from mmopt.config.spelling import speak, spoken
from mmopt.engine.checkpointed_runner import CheckpointedRunner
from mmopt.engine.hooks.checkpoint_hook import CheckpointHook
from mmopt.engine.hooks.contract import check_points, check_priority, uncalled_points
from mmopt.engine.hooks.dispatch import calls_at
from mmopt.engine.hooks.logger_hook import LoggerHook
from mmopt.engine.hooks.peak_memory_hook import PeakMemoryHook
from mmopt.engine.hooks.plateau_hook import PlateauHook
from mmopt.engine.hooks.runtime_info_hook import IterTimerHook, RuntimeInfoHook
from mmopt.engine.hooks.time_split_hook import TimeSplitHook
from mmopt.engine.loading.build import build_dataloader
from mmopt.engine.logging.console import ConsoleFormatter
from mmopt.engine.logging.log_processor import LogProcessor
from mmopt.engine.logging.message_hub import MessageHub
from mmopt.engine.logging.time_split import TimeSplit
from mmopt.engine.loops.epoch_loop import EpochBasedTrainLoop
from mmopt.engine.loops.evaluation_loops import TestLoop, ValLoop
from mmopt.engine.loops.iter_loop import IterBasedTrainLoop
from mmopt.engine.loops.step import unwrap
from mmopt.engine.loops.train_loop import TrainLoop
from mmopt.engine.native_config import native_config
from mmopt.engine.optim import OptimWrapper
from mmopt.engine.optim.half_on_cpu import autocast
from mmopt.engine.optim.precision import evaluation_precision
from mmopt.engine.parallel.fsdp import check_sharding, is_sharded
from mmopt.engine.parallel.model_wrapper import needs_mmengine, wrap_distributed
from mmopt.engine.parallel.sync_batch_norm import fit_sync_batch_norm
from mmopt.engine.scope import resolve_evaluator, resolve_schedulers, without_own_loop
from mmopt.engine.switches import (
    apply_to_model,
    apply_to_optimizer,
    apply_to_process,
    lr_factor,
    malloc_effect,
    report,
    scale_schedules,
)
from mmopt.registry import HOOKS, LOG_PROCESSORS, LOOPS, MODELS, OPTIM_WRAPPERS, RUNNERS
from mmopt.utils.distributed import init_distributed, local_world_size
from mmopt.utils.host import limit_threads
from mmopt.utils.malloc import keep_freed_pages
from mmopt.utils.placement import device_of
from mmopt.utils.platform import point_link, start_method
from mmopt.utils.precision import DTYPES
from mmopt.utils.seeding import prepare_determinism

__all__ = ['EpochBasedRunner', 'IterBasedRunner']


@RUNNERS.register_module()
class IterBasedRunner(CheckpointedRunner):
    """Run a lowered or native config; the train loop decides between iterations and epochs.

    Built by :meth:`mmengine.runner.Runner.from_cfg` from a config whose ``runner_type`` names it. Logs lie directly
    in the work dir (``<timestamp>.log``, ``latest.log``), curves in ``<timestamp>/vis_data``.

    Args:
        *args: Passed on to :class:`mmengine.runner.Runner`.
        **kwargs: Passed on to :class:`mmengine.runner.Runner`.
    """

    default_train_loop: type[TrainLoop] = IterBasedTrainLoop

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._keeps_pages = False
        self._machine_notes: list[str] = []
        self.time_split = TimeSplit()
        """Where the time of the training goes."""
        self._evaluation_precision: str | None = None
        self._hook_calls: dict[str, tuple[list[Hook], list[Callable]]] = {}
        prepare_determinism(kwargs.get('randomness'))
        super().__init__(*args, **kwargs)
        # While building, the console shows warnings only: environment, config and hooks are for the log file.
        self._console_level(logging.INFO)

    @classmethod
    def from_cfg(cls, cfg: dict) -> Self:
        """Build a runner, in a script of one's own as ``tools/train.py`` does.

        Args:
            cfg: A config: a native one, or one of MMCV 1.x, which is lowered here; it is not changed. What its
                ``optimize`` section says about other sections is put there. Without ``work_dir`` the run goes to
                ``work_dirs/<name of the config's file>``.

        Returns:
            The runner.
        """
        if spoken() is None:  # no tool has read a file: the config is the user's own, and MMEngine's
            speak('mmengine')
        prepare_determinism(cfg.get('randomness'))  # the first line that is logged looks for a GPU
        return super().from_cfg(native_config(cfg))

    # ---------------------------------------------------------------- environment
    def setup_env(self, env_cfg: dict) -> None:
        """Start the process group on whatever device there is and fit threads and workers to the machine.

        MMEngine does the rest.
        """
        if self._launcher != 'none' and not torch.distributed.is_initialized():
            dist_cfg = env_cfg.get('dist_cfg', {})
            init_distributed(
                self._launcher, dist_cfg.get('backend'), dist_cfg.get('timeout', 1800), dist_cfg.get('port')
            )
        if not torch.cuda.is_available():
            self._keeps_pages = keep_freed_pages()
        # More workers than cores: the preflight block says so in one line; torch says it at every iterator.
        warnings.filterwarnings('ignore', 'This DataLoader will create')
        mp_cfg = dict(env_cfg.get('mp_cfg') or {})
        mp_cfg['mp_start_method'], note = start_method(mp_cfg.get('mp_start_method', 'fork'))
        self._machine_notes = [text for text in (note, limit_threads(local_world_size())) if text]
        super().setup_env({**env_cfg, 'mp_cfg': mp_cfg})
        self._timestamp = self._unused_timestamp()

    def _unused_timestamp(self) -> str:
        """Return a name for this start's folder: a killed run may be started again within the second."""
        names = [self._timestamp]
        if is_main_process():
            number = 1
            while Path(self.work_dir, names[0]).exists():
                number += 1
                names = [f'{self._timestamp}_{number:02d}']
        broadcast_object_list(names)
        return names[0]

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs) -> MMLogger:
        """Log to ``<work_dir>/<timestamp>.log`` and point ``latest.log`` to it."""
        path = Path(self.work_dir, f'{self.timestamp}.log')
        logger = super().build_logger(log_level, log_file or str(path), **kwargs)
        self._log_level = log_level
        if is_main_process():
            link = Path(self.work_dir, 'latest.log')
            if not point_link(link, path.name):  # the log itself is there
                logger.debug(f'no link latest.log: {link.parent} allows none')
        self.logger = logger
        for handler in self._console_handlers():
            handler.setFormatter(ConsoleFormatter(handler.stream))
        for note in self._machine_notes:
            logger.info(note)
        self._console_level(logging.WARNING)
        return logger

    def build_message_hub(self, message_hub: dict | None = None) -> MessageHub:
        """Build the message hub: MMEngine's, with scalars that are fetched when they are read."""
        if message_hub is not None and not isinstance(message_hub, dict):
            return super().build_message_hub(message_hub)  # says what it may be
        return MessageHub.get_instance(**dict(name=self._experiment_name) | (message_hub or {}))

    def _console_level(self, level: int) -> None:
        if get_rank() != 0:
            return
        for handler in self._console_handlers():
            handler.setLevel(level)

    def _console_handlers(self) -> Iterator[logging.StreamHandler]:
        for handler in self.logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                yield handler

    # ---------------------------------------------------------------- building
    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a loader; see :func:`mmopt.engine.loading.build.build_dataloader`."""
        seed = seed or 0
        # The sampler needs one seed on all ranks; of a run whose ranks differ, MMEngine gives that of this rank.
        return build_dataloader(dataloader, seed - get_rank() if diff_rank_seed else seed)

    def use_datasets(self, datasets: Mapping[str, Any]) -> None:
        """Take data sets that are built already, so that listing their samples is done once.

        Args:
            datasets: By loader: ``train_dataloader`` or ``val_dataloader``. A loader that is built keeps its own.
        """
        for name, dataset in datasets.items():
            cfg = getattr(self, f'_{name}')
            if isinstance(cfg, Mapping) and dataset is not None:
                setattr(self, f'_{name}', {**cfg, 'dataset': dataset})

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build a model of the config's scope, of MMEngine or of mmopt."""
        return super().build_model(MODELS.resolve(model))

    def build_evaluator(self, evaluator: Any) -> Any:
        """Build an evaluator whose metrics are of the config's scope, of MMEngine or of mmopt."""
        return super().build_evaluator(resolve_evaluator(evaluator))

    def build_log_processor(self, log_processor: Any) -> Any:
        """Build a log processor: ours unless the config names another."""
        if isinstance(log_processor, dict):
            log_processor = LOG_PROCESSORS.resolve({'type': LogProcessor, **log_processor})
        return super().build_log_processor(log_processor)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Move the model to its device, apply `optimize` and, with several processes, wrap it in DDP."""
        device = torch.device(get_device())
        model = fit_sync_batch_norm(model.to(device), device, get_world_size())
        optimize = self.cfg.get('optimize')
        report(apply_to_process(optimize) | apply_to_model(model, optimize), self.logger)
        if device.type == 'cpu':
            self.logger.info(malloc_effect(self._keeps_pages))
        if not self.distributed:
            if (model_wrapper_cfg or {}).get('type') == 'FSDP':
                self.logger.warning(
                    "model_wrapper='fsdp' has no effect with one process: there is nobody to share with."
                )
            return model
        return self._wrap_distributed(model_wrapper_cfg, model)

    def wrap_again(self) -> None:
        """Wrap the model anew after parameters were frozen or thawed: DDP knows those that it found at first."""
        if self.distributed and not is_sharded(self.model):
            self.model = self._wrap_distributed(self.cfg.get('model_wrapper_cfg'), unwrap(self.model))

    def _wrap_distributed(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if needs_mmengine(model_wrapper_cfg):
            return super().wrap_model(model_wrapper_cfg, model)
        if (model_wrapper_cfg or {}).get('type') == 'FSDP':
            check_sharding(self.cfg)
        return wrap_distributed(
            model, model_wrapper_cfg, find_unused_parameters=self.cfg.get('find_unused_parameters', False)
        )

    def _init_model_weights(self) -> None:
        # What load_checkpoint() or resume() has brought before train() stays; MMEngine would begin anew.
        if not is_sharded(self.model) and not self._has_loaded:
            super()._init_model_weights()

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimizer wrapper as `optimize` asks for it."""
        if isinstance(optim_wrapper, dict):
            optim_wrapper, effects = apply_to_optimizer(optim_wrapper, self.cfg, get_world_size())
            report(effects, self.logger)
            if 'optimizer' in optim_wrapper:  # several optimizers are the business of a constructor
                optim_wrapper = OPTIM_WRAPPERS.resolve({'type': OptimWrapper, **optim_wrapper})
        elif isinstance(optim_wrapper, OptimWrapper):
            return optim_wrapper
        built = super().build_optim_wrapper(optim_wrapper)
        if (choice := getattr(built, 'choice', None)) is not None:
            self.logger.info(f'precision: {choice}')
        return built

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build our loops also from MMEngine's ``dict(by_epoch=..., max_iters=...)``."""
        if isinstance(loop, dict) and 'type' not in loop:
            loop = dict(loop)
            by_epoch = loop.pop('by_epoch', self.default_train_loop is EpochBasedTrainLoop)
            loop['type'] = EpochBasedTrainLoop if by_epoch else IterBasedTrainLoop
        loop = LOOPS.resolve(loop)
        micro_batch = (self.cfg.get('optimize') or {}).get('micro_batch')
        if isinstance(loop, dict) and isinstance(loop['type'], type) and not issubclass(loop['type'], TrainLoop):
            self.logger.warning(without_own_loop(loop['type'].__name__, micro_batch))
        elif isinstance(loop, dict) and micro_batch is not None:
            loop = dict(loop, micro_batch=micro_batch)
        return super().build_train_loop(loop)

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build our evaluation loop also from MMEngine's ``dict()``."""
        return super().build_val_loop(LOOPS.resolve({'type': ValLoop, **loop}) if isinstance(loop, dict) else loop)

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build our evaluation loop also from MMEngine's ``dict()``."""
        return super().build_test_loop(LOOPS.resolve({'type': TestLoop, **loop}) if isinstance(loop, dict) else loop)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedulers and tell closed forms where the run ends."""
        factor, _ = lr_factor(self.cfg, get_world_size())
        scheduler = resolve_schedulers(scale_schedules(scheduler, factor) if factor != 1 else scheduler)
        schedulers = super().build_param_scheduler(scheduler)
        items = schedulers if isinstance(schedulers, list) else sum(schedulers.values(), [])
        timetable = getattr(self.train_loop, 'timetable', None)
        for item in items:
            if hasattr(item, 'set_horizon'):
                item.set_horizon(
                    epoch_length=len(self.train_dataloader),
                    max_iters=self.max_iters,
                    max_epochs=self.max_epochs,
                    timetable=timetable,
                )
        return schedulers

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        """Register MMEngine's default hooks, ours for runtime info, logs, memory and checkpoints."""
        hooks = dict(hooks or {})
        defaults = dict(
            runtime_info=dict(type=RuntimeInfoHook),
            timer=dict(type=IterTimerHook),
            sampler_seed=None,  # our samplers carry their epoch themselves
            memory=dict(type=PeakMemoryHook),
            plateau=dict(type=PlateauHook),
            time_split=dict(type=TimeSplitHook),
            logger=dict(type=LoggerHook),
            param_scheduler=dict(type=ParamSchedulerHook),
            checkpoint=dict(type=CheckpointHook, interval=1),
        )
        merged = {name: dict(hook) if isinstance(hook, dict) else hook for name, hook in (defaults | hooks).items()}
        for name in ('memory', 'plateau', 'time_split'):  # None leaves out what MMEngine does not know as well
            if merged[name] is None:
                del merged[name]
        super().register_default_hooks(merged)

    def register_hook(self, hook: Hook | dict, priority: str | int | Priority | None = None) -> None:
        """Register a hook that the loops can call; of MMEngine's, those that mmopt has as well are mmopt's.

        Args:
            hook: The hook or its config.
            priority: Replaces that of the config or of the hook.

        Raises:
            UserError: If the priority is none, or a method does not take what the loops give it.
        """
        if isinstance(hook, dict):
            cfg = dict(hook)
            own = cfg.pop('priority', None)
            check_priority(own, str(cfg.get('type')))
            priority = own if priority is None else priority
            if isinstance(cfg.get('ema_type'), str):
                cfg['ema_type'] = MODELS.resolve(dict(type=cfg['ema_type']))['type']
            hook = HOOKS.build(cfg)
        check_priority(priority, type(hook).__name__)
        check_points(type(hook))
        for text in uncalled_points(type(hook)):
            self.logger.warning(text)
        super().register_hook(hook, priority)

    def autocast(self, precision: str | None = None) -> AbstractContextManager:
        """Return the precision of an evaluation: by default what training uses.

        Args:
            precision: ``'fp16'`` where an evaluation has its own.

        Returns:
            The context to predict in.
        """
        wrapper = self.optim_wrapper
        device_type = device_of(self.model).type
        if precision is not None:
            return autocast(device_type, DTYPES[precision])
        if isinstance(wrapper, OptimWrapper):
            return wrapper.autocast(device_type)
        if self._evaluation_precision is None:
            section = self.cfg.get('optim_wrapper')
            self._evaluation_precision = evaluation_precision(section, self._trained_in, device_type)
        return autocast(device_type, DTYPES[self._evaluation_precision])

    @property
    def train_loop(self) -> BaseLoop | None:
        """The training loop, built when it is first asked for; None without one."""
        # MMEngine asks an abstract base class three times for each `iter`, which hooks read again and again.
        return super().train_loop if isinstance(self._train_loop, dict) else self._train_loop

    @property
    def iter(self) -> int:
        """Running iteration, from 0; 0 without a training loop."""
        loop = self._train_loop  # asked for ten times per iteration: past the property that builds it
        if isinstance(loop, dict):
            loop = self.train_loop
        return 0 if loop is None else loop.iter

    @property
    def max_iters(self) -> int:
        """Iterations of the whole run; 0 without a training loop."""
        loop = self.train_loop
        return 0 if loop is None else loop.max_iters

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call the hooks that do something at this point.

        MMEngine calls all of them; most answer with an empty method, twice per iteration.

        Args:
            fn_name: Name of the point, e.g. ``'after_train_iter'``.
            **kwargs: Passed on to the hooks.
        """
        cached = self._hook_calls.get(fn_name)
        if cached is None or cached[0] != self._hooks:  # one was registered or replaced since
            cached = self._hook_calls[fn_name] = (list(self._hooks), calls_at(self._hooks, fn_name))
        for call in cached[1]:
            call(self, **kwargs)

    def val(self) -> dict[str, float]:
        """Evaluate on the validation set; all weights must fit, or random ones would be measured in silence."""
        self._needs_all_weights = True
        return super().val()

    def test(self) -> dict[str, float]:
        """Evaluate on the test set; see :meth:`val`."""
        self._needs_all_weights = True
        return super().test()


@RUNNERS.register_module()
class EpochBasedRunner(IterBasedRunner):
    """The same runner, whose native configs without ``by_epoch`` count epochs."""

    default_train_loop = EpochBasedTrainLoop
