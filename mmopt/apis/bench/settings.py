"""What is measured: settings, each a config with options, and how long to measure them."""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mmopt.apis.config import load_config
from mmopt.utils.platform import loaded_nvidia_gpus

__all__ = ['Setting', 'TrialPlan', 'folder_name', 'make_settings']


@dataclass(frozen=True)
class Setting:
    """A config with options and a precision, as it is measured.

    Attributes:
        name: Its row in the table.
        options: ``key=value`` texts.
        precision: Replaces the config's; None keeps it.
        validate: Whether the projected hours count evaluations.
        claimed: What somebody says about it: quantity -> lowest and highest value (see :mod:`mmopt.apis.bench.claims`).
        needs_gpu: Why it means nothing without a GPU; empty if it does.
    """

    name: str
    config: str
    options: tuple[str, ...] = ()
    precision: str | None = None
    validate: bool = True
    claimed: Mapping[str, Sequence[float]] = field(default_factory=dict)
    needs_gpu: str = ''

    def load(self) -> Any:
        """Return the lowered config."""
        return load_config(self.config, options=self.options, precision=self.precision)


@dataclass(frozen=True)
class TrialPlan:
    """How a setting is measured.

    Attributes:
        warmup: Iterations before the timed ones.
        iters: Timed iterations.
        val_batches: Evaluation batches to time; 0 leaves evaluation and saving out.
        flops: Whether to count operations and to measure the matmul rate.
        seed: Seed of model and data: the same for all, so that losses compare.
        metric: Instead of measuring, train to the end of the config and return its metrics.
        timeout_s: Seconds after which a trial is given up.
        budget_bytes: Memory that a trial may take of a GPU, as if it were a smaller one; None for all.
    """

    warmup: int = 5
    iters: int = 20
    val_batches: int = 4
    flops: bool = True
    seed: int = 0
    metric: bool = False
    timeout_s: float = 3600.0
    budget_bytes: int | None = None

    def fingerprint(self, setting: Setting) -> str:
        """Return what a finished trial is known by: any change of config, length, torch or device changes it."""
        cfg = setting.load().to_dict()
        for key in ('work_dir', 'filename'):
            cfg.pop(key, None)
        plan = {key: value for key, value in asdict(self).items() if key != 'timeout_s'}
        text = json.dumps([cfg, plan, torch.__version__, _devices()], sort_keys=True, default=repr)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _devices() -> list[str]:
    """Name the GPUs without starting CUDA, which would take memory from the trials."""
    return [*loaded_nvidia_gpus(), os.environ.get('CUDA_VISIBLE_DEVICES', '')]


def make_settings(
    configs: Sequence[str],
    variants: Mapping[str, Sequence[str]],
    precisions: Sequence[str] = (),
    common: Sequence[str] = (),
) -> list[Setting]:
    """Cross configs, variants of options and precisions.

    Args:
        variants: Name of a variant -> its options; empty for the configs as they are.
        precisions: Precisions; empty for the configs' own.
        common: Options of all.

    Returns:
        One setting each; the first is the baseline of the others.
    """
    settings = []
    wanted: Sequence[str | None] = precisions or [None]
    for config, (variant, options), precision in itertools.product(configs, variants.items() or [('', ())], wanted):
        parts = [Path(config).stem] if len(configs) > 1 or not (variant or precision) else []
        parts += [text for text in (variant, precision) if text]
        settings.append(Setting(', '.join(parts), str(config), (*common, *options), precision))
    return settings


def folder_name(setting: Setting) -> str:
    """Return the setting's name as a folder's."""
    return re.sub(r'[^\w.=+-]+', '_', setting.name).strip('_')
