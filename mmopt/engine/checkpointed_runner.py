"""A runner that saves everything, goes on bit for bit, and takes the weights of others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, get_world_size, is_main_process
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import nn

from mmopt.engine import checkpoint_io
from mmopt.engine.checkpoint_io.run_state import collect_state, restore_state
from mmopt.engine.hooks.checkpoint_hook import CheckpointHook
from mmopt.engine.hooks.runtime_info_hook import RuntimeInfoHook
from mmopt.engine.loops.step import unwrap
from mmopt.engine.parallel.fsdp import is_sharded, scatter_like
from mmopt.engine.resume.changes import check_resumable, keeps_optimizer
from mmopt.engine.resume.optimizer_settings import LEFT_OUT
from mmopt.engine.resume.optimizers import forget_state, fresh_groups
from mmopt.engine.resume.schedulers import scale_learning_rate
from mmopt.utils.errors import UserError

__all__ = ['CheckpointedRunner']


class CheckpointedRunner(Runner):
    """MMEngine's runner with checkpoints of our own.

    Args:
        *args: Passed on to :class:`mmengine.runner.Runner`.
        **kwargs: Passed on to :class:`mmengine.runner.Runner`.
    """

    # MMEngine's, which carry no types there.
    model: nn.Module
    optim_wrapper: Any
    param_schedulers: Any
    _resume: bool
    _has_loaded: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.fresh_groups: dict[str, list[dict]] | None = None
        """Settings of the optimizer's groups as a fresh run begins with them, once a run has been resumed."""
        self.config_text: str | None = None
        self._needs_optimizer: bool | None = None  # while a run is resumed: whether with the optimizer's state
        self._needs_all_weights = False
        self._is_partial = False
        self._pending_rng: dict | None = None
        self._trained_in: str | None = None  # the precision of the checkpoint that was loaded
        super().__init__(*args, **kwargs)

    def text_of_config(self) -> str:
        """Return the config as a file would have it."""
        if self.config_text is None:  # formatting a config takes seconds: once per run
            self.config_text = self.cfg.pretty_text
        return self.config_text

    def message_hub_state(self) -> dict:
        """Return the message hub as plain types."""
        return checkpoint_io.message_hub_state(self.message_hub)

    def save_checkpoint(
        self,
        out_dir: str | Path,
        filename: str | None = None,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: Mapping[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        """Save everything that a bit-for-bit continuation needs. All ranks must call it; rank 0 writes.

        Args:
            out_dir: The folder, which may be an address such as ``s3://...``; without ``filename`` the file itself.
            filename: The file in it.
            file_client_args: The older word for ``backend_args``.
            save_optimizer: Whether the file can be resumed.
            save_param_scheduler: Whether the file holds the state of the schedules.
            meta: Entries to add to the file's own ``meta``.
            by_epoch: MMEngine asks whether an epoch or an iteration has just ended; the loop knows it.
            backend_args: How to reach ``out_dir`` where it is no folder of this machine.
        """
        del by_epoch
        state = collect_state(self)
        if state is None:
            return
        state['meta'] |= meta or {}
        left_out = (() if save_optimizer else ('optimizer', 'partial_grads')) + (
            () if save_param_scheduler else ('param_schedulers',)
        )
        for key in left_out:
            state.pop(key, None)
        self.call_hook('before_save_checkpoint', checkpoint=state)
        checkpoint_io.save_to(out_dir, filename, state, backend_args or file_client_args)

    def save_now(self) -> Path:
        """Save where the run is, off its intervals, and wait until the file is complete. All ranks must call it.

        Returns:
            The checkpoint.
        """
        hook = next((hook for hook in self.hooks if isinstance(hook, CheckpointHook)), None)
        return (hook or CheckpointHook(by_epoch=False)).save_now(self)

    def last_checkpoint(self) -> Path | None:
        """Return the newest whole checkpoint of the work dir, as rank 0 sees it. All ranks must ask."""
        for hook in self.hooks:
            if isinstance(hook, CheckpointHook):
                hook.join()
        found = [checkpoint_io.find_latest(Path(self.work_dir)) if is_main_process() else None]
        broadcast_object_list(found)
        return found[0]

    def roll_back(self, path: Path, lr_factor: float) -> None:
        """Go back to a checkpoint of this run, with another learning rate.

        Args:
            path: The checkpoint.
            lr_factor: The learning rates of the checkpoint are multiplied by it.
        """
        for hook in self.hooks:
            if isinstance(hook, RuntimeInfoHook):
                hook.forget()
        self.optim_wrapper.zero_grad()
        started_anew, self._resume = self._resume, True  # MMEngine's EMA hook restores its average only then
        forget_state(self.optim_wrapper)
        self.resume(path, resume_optimizer=self.cfg.get('resume_optimizer', True))
        self._resume = started_anew
        self.optim_wrapper.initialize_count_status(self.model, self.iter, self.max_iters)
        scale_learning_rate(self.optim_wrapper.optimizer, self.param_schedulers or [], lr_factor)

    def load_or_resume(self) -> None:
        """Resume (``resume=True``: from ``load_from``, else from the newest checkpoint of the work dir) or load.

        With ``auto_resume=True`` in the config the newest checkpoint of the work dir goes before ``load_from``.
        """
        if self._has_loaded:
            return
        if self.cfg.get('auto_resume') and not self._resume:
            newest = self.last_checkpoint()
            if newest is not None:
                self._load_from, self._resume = str(newest), True
        if self._resume:
            path = self._load_from or self.last_checkpoint()
            if path is None:
                self.logger.info(f'No checkpoint in {self.work_dir}: starting from the beginning.')
                return
            self.resume(path, resume_optimizer=self.cfg.get('resume_optimizer', True))
        elif self._load_from is not None:
            checkpoint_io.check_sha256(self._load_from, self.cfg.get('load_from_sha256'))
            self.load_checkpoint(self._load_from)

    def load_checkpoint(
        self, filename: str | Path, map_location: Any = 'cpu', strict: bool = False, revise_keys: Any = None
    ) -> dict:
        """Load weights only.

        Args:
            filename: A checkpoint of mmopt, MMEngine or mmcv 1.x, or a plain state dict.
            map_location: Where tensors go first.
            strict: Whether every key must match, unless the config says ``allow_partial=True``. A test asks for it.
            revise_keys: ``(pattern, replacement)`` pairs for key names; None strips ``module.``.

        Returns:
            The checkpoint.
        """
        checkpoint = self._read(filename, map_location)
        options = {} if revise_keys is None else dict(revise_keys=revise_keys)
        module = unwrap(self.model)
        weights, prefix = checkpoint['state_dict'], self.cfg.get('strip_prefix')
        if is_sharded(module):
            own = module.state_dict()
            weights, note = checkpoint_io.fit_names(module, weights, str(filename), prefix)
            prefix = None
            if note:
                self.logger.warning(note)
            weights = {key: scatter_like(value, own[key]) if key in own else value for key, value in weights.items()}
        report = checkpoint_io.load_weights(
            module,
            weights,
            strict=(strict or self._needs_all_weights) and not self.cfg.get('allow_partial', False),
            source=str(filename),
            strip_prefix=prefix,
            **options,
        )
        self._is_partial = not report.complete
        if self._is_partial:
            self.logger.warning(f'{filename}: what does not fit the model was left out:\n{report.table()}')
        self._trained_in = checkpoint.get('meta', {}).get('precision')
        self._has_loaded = True
        self.logger.info(f'Loaded the weights of {filename}.')
        return checkpoint

    def resume(
        self,
        filename: str | Path,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: Any = 'cpu',
    ) -> None:
        """Continue a run: weights, optimizer, schedulers, message hub, counters, random state, waiting gradients.

        Args:
            filename: The checkpoint.
            resume_optimizer: Whether to restore the optimizer.
            resume_param_scheduler: Whether to restore the schedulers.
            map_location: Where tensors go first.
        """
        self._build_for_resuming()
        if self.fresh_groups is None:
            self.fresh_groups = fresh_groups(self.optim_wrapper)
        self._needs_optimizer = resume_optimizer
        try:
            checkpoint = self.load_checkpoint(filename, map_location, strict=True)
            resume_optimizer = self._needs_optimizer
        finally:
            self._needs_optimizer = None
        if self._is_partial and resume_optimizer:
            raise UserError(f'{filename}: {LEFT_OUT}')
        self._pending_rng = restore_state(
            self, checkpoint, optimizer=resume_optimizer, param_scheduler=resume_param_scheduler
        )
        self.logger.info(f'Resumed {filename} after {self.iter} iterations.')

    def _build_for_resuming(self) -> None:
        """Build what a checkpoint restores, where resume() is called before train()."""
        if isinstance(self.optim_wrapper, Mapping) and not isinstance(self.optim_wrapper, OptimWrapperDict):
            self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        if self.param_schedulers is not None:
            self.param_schedulers = self.build_param_scheduler(self.param_schedulers)

    def _read(self, filename: str | Path, map_location: Any) -> dict:
        checkpoint = checkpoint_io.load(
            filename,
            map_location=map_location,
            allow_pickle=self.cfg.get('allow_pickle', False),
            # Averages are exchanged with the weights for MMEngine's hook; without one, nobody would change them back.
            for_resume=self._resume and any(isinstance(hook, EMAHook) for hook in self.hooks),
        )
        if self._needs_optimizer is not None:
            if not self.cfg.get('resume_optimizer', True) and keeps_optimizer(checkpoint, self.cfg, get_world_size()):
                self._needs_optimizer = True
            check_resumable(checkpoint, filename, self.cfg, get_world_size(), optimizer=self._needs_optimizer)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        return checkpoint

    def restore_rng_state(self) -> None:
        """Put back the random state of a resumed run; called once the loader is made, before anything is drawn."""
        if self._pending_rng is not None:
            checkpoint_io.set_rng_state(self._pending_rng)
            self._pending_rng = None
