"""Small functions of ``mmcv.utils``."""

import logging
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from torch import nn
from torch.nn.modules import batchnorm, conv, instancenorm, pooling
from torch.utils import cpp_extension
from torch.utils.data import DataLoader

from mmopt.mmcv1.standins.loader_seed import worker_init_fn

__all__ = [
    'CUDA_HOME',
    'IS_IPU_AVAILABLE',
    'IS_MLU_AVAILABLE',
    'get_build_config',
    'get_logger',
    'is_cuda_available',
    'is_jit_tracing',
    'is_rocm_pytorch',
    'logger_initialized',
    'parse_version_info',
    'worker_init_fn',
]

IS_IPU_AVAILABLE = IS_MLU_AVAILABLE = False
CUDA_HOME = cpp_extension.CUDA_HOME
logger_initialized: dict[str, bool] = {}


def get_logger(
    name: str, log_file: str | Path | None = None, log_level: int = logging.INFO, file_mode: str = 'w'
) -> logging.Logger:
    """Return a logger that writes to the terminal and, on rank 0, to a file; set up once per name.

    Args:
        name: Its name; ``a.b`` is set up with ``a``.
        log_file: Where rank 0 writes as well.
        log_level: Of rank 0; others log errors only.
        file_mode: ``'w'`` begins the file anew, ``'a'`` appends to it.

    Returns:
        The logger.
    """
    logger = logging.getLogger(name)
    if any(name.startswith(known) for known in logger_initialized):
        return logger
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    is_first = get_rank() == 0
    if is_first and log_file is not None:
        handlers.append(logging.FileHandler(log_file, file_mode))
    for handler in handlers:
        handler.setFormatter(logging.Formatter('%(asctime)s - %(name)s - %(levelname)s - %(message)s'))
        handler.setLevel(log_level)
        logger.addHandler(handler)
    logger.setLevel(log_level if is_first else logging.ERROR)
    logger_initialized[name] = True
    return logger


def parse_version_info(version: str, length: int = 4) -> tuple:
    """Cut ``'1.7.1'`` into numbers, filled up to a length; of a release candidate also ``('rc', 1)``."""
    from packaging.version import parse

    parsed = parse(version)
    release = (*parsed.release, *[0] * (length - len(parsed.release)))
    return release + (parsed.pre if parsed.is_prerelease and parsed.pre else (0, 0))


def is_jit_tracing() -> bool:
    """Tell whether ``torch.jit.trace`` runs."""
    return torch.jit.is_tracing()


def is_cuda_available() -> bool:
    """Tell whether there is a GPU."""
    return torch.cuda.is_available()


def is_rocm_pytorch() -> bool:
    """Tell whether torch was built for AMD's GPUs."""
    return torch.version.hip is not None


def get_build_config() -> str:
    """Return how torch was built."""
    return torch.__config__.show()


def _get_dataloader() -> tuple[type, type]:
    return DataLoader, DataLoader


def _get_conv() -> tuple[type, type]:
    return conv._ConvNd, conv._ConvTransposeNd


def _get_norm() -> tuple[type, type, type]:
    return batchnorm._BatchNorm, instancenorm._InstanceNorm, nn.SyncBatchNorm


def _get_pool() -> tuple[type, type, type, type]:
    return (pooling._AdaptiveAvgPoolNd, pooling._AdaptiveMaxPoolNd, pooling._AvgPoolNd, pooling._MaxPoolNd)


def _get_extension() -> tuple[type, Any, Any]:
    return cpp_extension.BuildExtension, cpp_extension.CppExtension, cpp_extension.CUDAExtension


def is_running_on_windows() -> bool:
    """Tell whether this is Windows."""
    import platform

    return platform.system() == 'Windows'


def load_url(*args: Any, **kwargs: Any) -> Any:
    """Download weights as torch's hub does."""
    return torch.hub.load_state_dict_from_url(*args, **kwargs)
