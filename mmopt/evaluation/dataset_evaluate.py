"""MMCV 1.x's contract of evaluation: the data set itself measures the collected results."""

from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from numbers import Real
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.logging import MMLogger

from mmopt.registry import METRICS
from mmopt.utils.errors import UserError
from mmopt.utils.numbers import single

__all__ = ['DatasetEvaluateMetric']

_MISSING = object()


@METRICS.register_module()
class DatasetEvaluateMetric:
    """Collect what the model predicts and call ``dataset.evaluate(results, logger=..., **arguments)``.

    ``results`` has one dict per sample (``DataSample.to_dict()``) in the order of the data set. Unlike other metrics
    this one keeps all predictions until the end, as MMCV does.

    Args:
        **arguments: Keys of ``evaluation`` that the data set takes: ``metric='mIoU'``, ``classwise=True``, ...

    Raises:
        ValueError: If the data set has no ``evaluate``.
    """

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.dataset_meta: dict | None = None  # the evaluator sets it
        self._dataset: Any = None
        self._results: list = []

    @property
    def dataset(self) -> Any:
        """The data set; the evaluation loop sets it."""
        return self._dataset

    @dataset.setter
    def dataset(self, dataset: Any) -> None:
        if not callable(getattr(dataset, 'evaluate', None)):
            raise ValueError(
                f'evaluation.metric={self.arguments.get("metric")!r} is for data sets with an evaluate(results, ...) '
                f'method, which {type(dataset).__name__} lacks; write a metric of the registry: '
                'evaluation=dict(metric=dict(type=...)).'
            )
        self._dataset = dataset

    def process(self, data_batch: Any, data_samples: Sequence) -> None:
        """Keep one batch of predictions, on the CPU.

        Args:
            data_batch: The batch; not used.
            data_samples: What the model returned.
        """
        del data_batch  # MMEngine's signature
        self._results += [_to_cpu(sample) for sample in data_samples]

    def evaluate(self, size: int) -> dict[str, float]:
        """Measure all results and forget them.

        Args:
            size: Samples of the data set.

        Returns:
            The numbers among what the data set returned.
        """
        parts = all_gather_object(self._results)
        self._results = []
        # Rank r evaluated samples r, r + W, r + 2 W, ...
        ordered = chain.from_iterable(zip_longest(*parts, fillvalue=_MISSING))
        results = [result for result in ordered if result is not _MISSING][:size]
        measured = self._measure(results)
        if not isinstance(measured, Mapping):
            raise UserError(
                f'{type(self.dataset).__name__}.evaluate gave {measured!r}: it must return a dict of numbers, such as '
                'dict(mIoU=0.5).'
            )
        plain = {key: single(value) for key, value in measured.items()}
        return {key: float(value) for key, value in plain.items() if isinstance(value, Real)}

    def _measure(self, results: list) -> Any:
        return self.dataset.evaluate(results, logger=MMLogger.get_current_instance(), **self.arguments)


def _to_cpu(part: Any) -> Any:
    if hasattr(part, 'cpu'):
        return part.cpu()
    if isinstance(part, Mapping):
        return {key: _to_cpu(value) for key, value in part.items()}
    return part
