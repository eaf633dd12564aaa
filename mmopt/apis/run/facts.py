"""What the machine and the data look like: everything the preflight block cannot read from the config."""

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from torch import nn

from mmopt.apis.run.check_data import check_targets
from mmopt.apis.run.check_model import ModelFacts, check_model
from mmopt.config.precision import resolve_precision
from mmopt.engine.loading.dataset import build_dataset as engine_build
from mmopt.engine.optim.half_on_cpu import emulation_cost
from mmopt.registry import FUNCTIONS, MODELS
from mmopt.utils.host import usable_cores
from mmopt.utils.memory import GIB
from mmopt.utils.platform import has_gpu_driver
from mmopt.utils.precision import DTYPES, ComputeDevice, this_device

__all__ = [
    'Facts',
    'Start',
    'build_dataset',
    'collate_of',
    'collect_facts',
    'data_folders',
    'model_config',
    'model_skeleton',
    'world_size_of',
]


@dataclass(frozen=True)
class Start:
    """Where a resumed run goes on.

    Attributes:
        iter: Iterations done.
        precision: What it was trained in; None where the checkpoint does not say.
        changes: What of the config is another than in the checkpoint, and now takes effect.
    """

    iter: int
    precision: str | None = None
    changes: str = ''


@dataclass(frozen=True)
class Facts:
    """Measured before a run.

    Attributes:
        device: What runs the model, e.g. ``'CPU'`` or ``'NVIDIA H200, 139.7 GiB'``.
        on_gpu: Whether that is a GPU.
        num_cores: CPU cores this process may use.
        torch_has_cuda: Whether torch was built with CUDA (or ROCm).
        gpu_driver: Whether a GPU driver is loaded on this machine.
        world_size: Processes of the run.
        num_train: Training samples, an epoch's worth.
        num_val: Validation samples; None without validation.
        folders: Data folders or files and whether each is there.
        compute: What precisions the device computes.
        emulation_cost: How many times as long as in fp32 the precision of the config takes; None unless a CPU
            emulates it.
        start: What the checkpoint that is resumed says; None for a new run.
        model: What a look at the model tells.
        datasets: The data sets that were built to count their samples, by loader: the run takes them over.
    """

    device: str
    on_gpu: bool
    num_cores: int
    torch_version: str
    torch_has_cuda: bool
    gpu_driver: bool
    world_size: int
    num_train: int
    num_val: int | None
    folders: Mapping[str, bool]
    compute: ComputeDevice
    emulation_cost: float | None = None
    start: Start | None = None
    model: ModelFacts = ModelFacts()
    datasets: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def world_size_of(launcher: str) -> int:
    """Return the number of processes, before the process group is started."""
    if launcher == 'none':
        return 1
    return int(os.environ.get('SLURM_NTASKS' if launcher == 'slurm' else 'WORLD_SIZE', 1))


def build_dataset(cfg: Config, key: str) -> Any:
    """Build a data set of a lowered config.

    Args:
        cfg: A lowered config.
        key: ``train_dataloader``, ``val_dataloader`` or ``test_dataloader``.

    Returns:
        The data set; None if the config has no such loader.
    """
    if not cfg.get(key):
        return None
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    return engine_build(cfg[key]['dataset'])


def collate_of(loader: Mapping[str, Any]) -> Callable[[list], Any]:
    """Return what makes a batch of samples for a loader of a lowered config; the config's scope holds already."""
    named = dict(loader.get('collate_fn') or dict(type='pseudo_collate'))
    function = named.pop('type')
    function = function if callable(function) else FUNCTIONS.get(function)
    return lambda samples: function(samples, **named)


def model_config(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the model's section as the runner builds it: with the `data_preprocessor` of the top level."""
    model = copy.deepcopy(dict(cfg.get('model') or {}))
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', copy.deepcopy(cfg['data_preprocessor']))
    return model


def model_skeleton(cfg: Config) -> nn.Module:
    """Build a model to look at its modules: without memory for weights, unless it computes while it is built."""
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    try:
        with torch.device('meta'):
            return MODELS.build(model_config(cfg))
    except Exception:  # it reads a value, which tensors without memory do not have; or it says below what is wrong
        return MODELS.build(model_config(cfg))


def data_folders(dataset: Any) -> dict[str, bool]:
    """List what a data set reads and whether it is there.

    Args:
        dataset: A data set, or a wrapper around one (``dataset``) or several (``datasets``).

    Returns:
        Paths of ``data_prefix`` and ``ann_file``, by MMEngine's convention, and public attributes that are paths;
        empty for data sets without them.
    """
    inner = getattr(dataset, 'dataset', None)
    parts = [inner] if inner is not None else getattr(dataset, 'datasets', None)
    if parts is not None:
        return {path: there for part in parts for path, there in data_folders(part).items()}
    paths: list[str | Path] = [
        value for key, value in vars(dataset).items() if isinstance(value, Path) and not key.startswith('_')
    ]
    if isinstance(dataset, BaseDataset):
        paths += [
            value for value in (*dataset.data_prefix.values(), dataset.ann_file) if isinstance(value, str) and value
        ]
    return {str(path): Path(path).exists() for path in paths}


def collect_facts(cfg: Config, start: Start | None = None) -> Facts:
    """Look at the machine and build the data sets to count their samples.

    Args:
        cfg: A lowered config.
        start: What the checkpoint that is resumed says.

    Returns:
        The facts.

    Raises:
        UserError: If the data has nothing to learn from, or classes that the model has no outputs for.
    """
    train, val = build_dataset(cfg, 'train_dataloader'), build_dataset(cfg, 'val_dataloader')
    check_targets(train)
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
        device = f'{gpu.name}, {gpu.total_memory / GIB:.1f} GiB'
    else:
        device = "Apple's GPU (MPS)" if torch.backends.mps.is_available() else 'CPU'
    compute = this_device()
    precision = resolve_precision(cfg.get('optim_wrapper'), compute)
    is_emulated = compute.kind == 'cpu' and not compute.support(precision).is_native
    return Facts(
        device=device,
        on_gpu=on_gpu,
        num_cores=usable_cores(),
        torch_version=torch.__version__,
        torch_has_cuda=torch.version.cuda is not None or torch.version.hip is not None,
        gpu_driver=has_gpu_driver(),
        world_size=world_size_of(cfg.get('launcher', 'none')),
        num_train=len(train),
        num_val=None if val is None else len(val),
        folders={**data_folders(train), **({} if val is None else data_folders(val))},
        compute=compute,
        emulation_cost=emulation_cost(DTYPES[precision]) if is_emulated else None,
        start=start,
        model=check_model(cfg, train),
        datasets=dict(train_dataloader=train, val_dataloader=val),
    )
