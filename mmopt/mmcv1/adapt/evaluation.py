"""Evaluation by the repository's own data set: ``pre_eval``, ``evaluate`` and ``format_results``."""

from collections.abc import Sequence
from typing import Any

from mmengine.dist import get_dist_info
from mmengine.logging import print_log

from mmopt.evaluation import DatasetEvaluateMetric
from mmopt.mmcv1.adapt.results import find_mask_encoder, with_encoded_masks
from mmopt.registry import METRICS

__all__ = ['MMCV1Evaluation']

# MMEditing's evaluation hook keeps these for itself: it writes pictures, which tools/test.py --show-dir does here.
_OF_THE_HOOK = ('save_image', 'save_path')


@METRICS.register_module()
class MMCV1Evaluation(DatasetEvaluateMetric):
    """Let the data set measure what was predicted.

    Args:
        pre_eval: Reduce each batch to its part of the score at once (``dataset.pre_eval``), which keeps no maps.
        format_only: Write files by ``dataset.format_results`` in the place of measuring.
        **arguments: For ``dataset.evaluate``, or for ``format_results``, which gets no ``metric``.
    """

    def __init__(self, *, pre_eval: bool = False, format_only: bool = False, **arguments: Any) -> None:
        super().__init__(**{key: value for key, value in arguments.items() if key not in _OF_THE_HOOK})
        self.pre_eval = pre_eval
        self.format_only = format_only
        self._num_seen = 0

    def process(self, data_batch: Any, data_samples: Sequence) -> None:
        """Keep one batch of results, or what the data set makes of them."""
        kind: Any = type(getattr(self.dataset, 'inner', self.dataset))
        encode = find_mask_encoder(kind)
        if encode is not None:
            data_samples = with_encoded_masks(data_samples, encode)
        if self.format_only or not self.pre_eval or not hasattr(self.dataset, 'pre_eval'):
            super().process(data_batch, data_samples)
            return
        rank, world_size = get_dist_info()
        # The sampler of evaluations gives every process each world_size-th sample, in order.
        indices = [rank + world_size * (self._num_seen + place) for place in range(len(data_samples))]
        self._num_seen += len(data_samples)
        measured = self.dataset.pre_eval(list(data_samples), indices)
        self._results += measured if isinstance(measured, list) else [measured]

    def _measure(self, results: list) -> Any:
        measured = super()._measure(results)
        if measured is None:
            # mmcv 1.x's test scripts take that; its evaluation hook fails.
            name = type(getattr(self.dataset, 'inner', self.dataset)).__name__
            print_log(f'{name}.evaluate prints its numbers and returns none: there is nothing to log.', 'current')
            return {}
        return measured

    def evaluate(self, size: int) -> dict[str, float]:
        """Measure or write all results and forget them."""
        self._num_seen = 0
        if self.format_only:
            results, self._results = self._results, []
            arguments = {key: value for key, value in self.arguments.items() if key != 'metric'}
            self.dataset.format_results(results[:size], **arguments)
            return {}
        return super().evaluate(size)
