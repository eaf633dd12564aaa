"""What classification reaches without looking at the input."""

from typing import Any

import numpy as np

from mmopt.registry import FUNCTIONS

__all__ = ['majority_class']


@FUNCTIONS.register_module()
def majority_class(train_dataset: Any, val_dataset: Any) -> dict[str, float]:
    """Predict, for every validation sample, the class that is most frequent in training.

    Args:
        train_dataset: Data set whose samples' info has a ``label``.
        val_dataset: Another one.

    Returns:
        ``accuracy``.
    """
    train, val = (
        np.array([dataset.get_data_info(index)['label'] for index in range(len(dataset))])
        for dataset in (train_dataset, val_dataset)
    )
    return dict(accuracy=float((val == np.bincount(train).argmax()).mean()))
