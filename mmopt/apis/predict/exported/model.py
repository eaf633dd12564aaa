"""A file of ``tools/export.py`` in the place of a model: what is read of it, and how it predicts a batch.

Pipeline, classes and data set are those that the file holds, so that nothing but the file is needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from mmopt.apis.export.tensors import give_predictions, graph_inputs, unequal_inputs
from mmopt.apis.predict.exported.files import open_onnx, open_pt2
from mmopt.structures import batch_size, split_batch
from mmopt.utils.errors import UserError

__all__ = ['ExportedModel', 'is_graph']


def is_graph(path: str | Path) -> bool:
    """Tell an exported graph from a checkpoint by its ending."""
    return Path(path).suffix.lower() in ('.onnx', '.pt2')


class ExportedModel:
    """A graph that takes batches as a model's ``test_step`` does, in float32.

    Args:
        path: The file, ``.onnx`` or ``.pt2``.
        device: ``'auto'`` or what torch calls a device; a GPU needs onnxruntime's GPU build, or a ``.pt2``.

    Raises:
        UserError: If the file cannot be read or run here, or does not say what it takes and gives.
    """

    def __init__(self, path: str | Path, device: str = 'auto') -> None:
        self.path = Path(path)
        is_onnx = self.path.suffix.lower() == '.onnx'
        if device not in ('auto', 'cpu') and not device.startswith('cuda'):
            raise UserError(f'--device {device}: an exported graph runs on cpu or cuda.')
        self._run, self.facts, self.device = (open_onnx if is_onnx else open_pt2)(self.path, device)
        self.name: str = self.facts['model']
        self.counts = {
            name: part['counted_by'] for name, part in self.facts['outputs'].items() if part.get('counted_by')
        }
        if 'pred_probability' in self.facts['outputs']:
            self.keep_probabilities = True  # as the model that gives them on request
        self.fields = [name for name, part in self.facts['inputs'].items() if part['source'] == 'sample']

    @property
    def config(self) -> Config:
        """What remains of the config: the test data set, what imports it, and how it is evaluated."""
        sections = self.facts['predict'].items()
        return Config({key: value for key, value in sections if value is not None and key != 'dataset_meta'})

    @property
    def meta(self) -> dict[str, Any]:
        """What a checkpoint would say of itself."""
        trained = dict(self.facts['predict'].get('dataset_meta') or {}, classes=self.facts['classes'])
        return dict(dataset_meta=trained, precision='fp32')

    def test_step(self, batch: Mapping[str, Any]) -> list[Any]:
        """Predict a collated batch.

        A graph of one batch size is given that many; samples of unequal size go one by one, so none is padded.

        Args:
            batch: As the pipeline's collation gives it.

        Returns:
            The samples with their predictions.

        Raises:
            UserError: If the inputs do not fit the graph.
        """
        count = batch_size(batch)
        fixed = self._fixed_batch()
        step = 1 if unequal_inputs(batch['inputs']) or self._unequal_fields(batch) else fixed or count
        samples: list[Any] = []
        for part in split_batch(dict(batch), step):
            samples += self._predict(part, fixed)
        return samples

    def _fixed_batch(self) -> int | None:
        first = next(iter(self.facts['inputs'].values()))['shape'][0]
        return first if isinstance(first, int) else None

    def _unequal_fields(self, batch: Mapping[str, Any]) -> bool:
        """Tell whether the sizes of files differ: the output of a graph has one."""
        if 'ori_shape' not in self.fields:
            return False
        return len({tuple(sample.get('ori_shape')) for sample in batch['data_samples']}) > 1

    def _predict(self, batch: Mapping[str, Any], fixed: int | None) -> list[Any]:
        tensors = graph_inputs(batch, self.fields)
        count = len(batch['data_samples'])
        if fixed is not None and count < fixed:
            # The last sample again; what it gives is dropped.
            tensors = {
                name: torch.cat((tensor, tensor[-1:].expand(fixed - count, *tensor.shape[1:])))
                for name, tensor in tensors.items()
            }
        self._check_inputs(tensors)
        outputs = dict(zip(self.facts['outputs'], self._run(tensors), strict=True))
        return give_predictions(outputs, self.counts, batch['data_samples'])

    def _check_inputs(self, tensors: Mapping[str, Tensor]) -> None:
        for name, part in self.facts['inputs'].items():
            if name not in tensors:
                raise UserError(f'{self.path} takes {name}, the pipeline gives {", ".join(tensors)}.')
            shape, want = tuple(tensors[name].shape), part['shape']
            fits = len(shape) == len(want) and all(
                isinstance(length, str) or length == own for own, length in zip(shape, want, strict=True)
            )
            if not fits:
                wanted, given = ('x'.join(map(str, lengths)) for lengths in (want, shape))
                raise UserError(
                    f'{self.path} takes {name} of {wanted}, these are {given}: resize the pictures to that, or '
                    'export for another size (tools/export.py --input-size).'
                )
            if 'zero' in part and tensors[name][(slice(None), *part['zero'])].any():
                raise UserError(
                    f'{self.path} takes {name} whose value at {part["zero"]} is 0, and one is not: predict with the '
                    'checkpoint.'
                )
