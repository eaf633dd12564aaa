"""The seed of a loader's worker, as mmcv 1.x gives it."""

import random

import numpy as np
import torch

__all__ = ['worker_init_fn']


def worker_init_fn(worker_id: int, num_workers: int, rank: int, seed: int) -> None:
    """Seed the global generators of a worker.

    Args:
        worker_id: Its number among the workers of its process.
        num_workers: Of each process.
        rank: Of its process.
        seed: Of the run.
    """
    worker_seed = num_workers * rank + worker_id + seed
    random.seed(worker_seed)
    np.random.seed(worker_seed)
    torch.manual_seed(worker_seed)
