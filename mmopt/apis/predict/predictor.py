"""A trained model that predicts pictures of no data set, in the very way in which an evaluation predicts.

Test pipeline, data preprocessor, ``model.test_step``, precision and switches of the model are those of
``tools/test.py``, so that with the same batches the predictions of validation pictures are equal.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from mmopt.apis.config import load_config
from mmopt.apis.custom_imports import import_custom_modules
from mmopt.apis.extension import provide_extension
from mmopt.apis.predict.foreign import ForeignData, is_foreign
from mmopt.apis.predict.sources import Item, list_items
from mmopt.apis.run.facts import collate_of, model_config
from mmopt.apis.run.start import check_there
from mmopt.datasets.common.predict import Result, predict_sample
from mmopt.engine import checkpoint_io
from mmopt.engine.micro_batch import Predictor as InParts
from mmopt.engine.native_config import native_config
from mmopt.engine.optim.half_on_cpu import autocast
from mmopt.engine.optim.precision import evaluation_precision
from mmopt.engine.parallel.sync_batch_norm import fit_sync_batch_norm
from mmopt.engine.resume.saved_config import saved_config
from mmopt.engine.switches import apply_to_model, apply_to_process
from mmopt.registry import DATASETS, MODELS
from mmopt.utils.errors import DataError, UserError
from mmopt.utils.host import limit_threads, usable_cores
from mmopt.utils.precision import DTYPES, PRECISIONS, this_device
from mmopt.utils.seeding import prepare_determinism
from mmopt.utils.shipped import find_config

__all__ = ['Predictor', 'is_config']

_LOGGER = logging.getLogger('mmopt.predict')
_MAX_READERS = 4
_GRAPHS = ('.onnx', '.pt2')

Skip = Callable[[Item, Exception], None]


def is_config(path: str | Path) -> bool:
    """Tell a config, or the name of one that ships, from a checkpoint by its ending."""
    return find_config(path).suffix.lower() in ('.py', '.json', '.yaml', '.yml')


class Predictor:
    """A model and what feeds it.

    ``predictor(sources)`` gives one result after the other; see :class:`mmopt.datasets.detection.result` and
    :class:`mmopt.datasets.segmentation.result`.

    Args:
        checkpoint_or_config: A checkpoint, whose own config is taken, or a config.
        checkpoint: The weights, behind a config.
        device: ``'auto'``, or what torch calls one.
        precision: ``'auto'``: what an evaluation of this checkpoint computes in; or ``fp32``, ``fp16``, ``bf16``.
        batch_size: Pictures that are predicted at once; None: as many as an evaluation.
        options: ``key=value`` texts that change the config file.
        allow_partial: Go on where weights do not fit the model.
        strip_prefix: Taken off the names of the weights.
        allow_pickle: See :func:`mmopt.engine.checkpoint_io.load`.

    Raises:
        UserError: If a file is missing, the checkpoint has no config, the weights do not fit, or this task cannot be
            predicted yet.
    """

    def __init__(
        self,
        checkpoint_or_config: str | Path,
        checkpoint: str | Path | None = None,
        device: str = 'auto',
        precision: str = 'auto',
        *,
        batch_size: int | None = None,
        options: Sequence[str] = (),
        allow_partial: bool = False,
        strip_prefix: str | None = None,
        allow_pickle: bool = False,
    ) -> None:
        if precision not in ('auto', *PRECISIONS):
            raise UserError(f'precision must be auto, {", ".join(PRECISIONS)}; got {precision!r}.')
        if batch_size is not None and batch_size < 1:
            raise UserError(f'The batch must be at least 1, got {batch_size}.')
        self.config = str(checkpoint_or_config) if checkpoint is not None or is_config(checkpoint_or_config) else None
        if self.config is not None and checkpoint is None:
            raise UserError(f'{self.config} is a config: name the checkpoint behind it.')
        if self.config is None and options:
            raise UserError('Options change a config file: name it before the checkpoint.')
        self.checkpoint = str(checkpoint_or_config if checkpoint is None else checkpoint)
        if Path(self.checkpoint).suffix.lower() in _GRAPHS:
            raise UserError(
                f'{self.checkpoint} is an exported graph, which cannot be predicted with yet: name the checkpoint that '
                'it was exported from.'
            )
        check_there(self.checkpoint)
        limit_threads()
        content = checkpoint_io.load(self.checkpoint, allow_pickle=allow_pickle)
        cfg = (
            _own_config(self.checkpoint, content) if self.config is None else load_config(self.config, options=options)
        )
        self.cfg: Config = native_config(cfg)
        prepare_determinism(self.cfg.get('randomness'))
        init_default_scope(self.cfg.get('default_scope', 'mmopt'))
        meta = content['meta']
        loader = _loader(self.cfg)
        section = _innermost(loader['dataset'])
        self.dataset = _build_dataset(section, meta, self.checkpoint, self.cfg)
        self.pipeline = section.get('pipeline')
        """The config of what a picture goes through."""
        self.batch_size = batch_size or int(loader.get('batch_size') or 1)
        self._collate = collate_of(loader)
        self.device = torch.device(get_device() if device == 'auto' else device)
        if precision == 'auto' and (self.cfg.get('test_cfg') or {}).get('fp16'):
            precision = 'fp16'  # of the evaluation, whatever the run was trained in
        elif precision == 'auto':
            precision = evaluation_precision(self.cfg.get('optim_wrapper'), meta.get('precision'), self.device.type)
        elif this_device(self.device.type).support(precision).level == 'missing':
            raise UserError(f'precision {precision}: {self.device} does not compute it; use auto.')
        self.precision = precision
        """What it computes in."""
        self.model = self._build_model(content['state_dict'], allow_partial, strip_prefix)
        self._in_parts = InParts(self.model, _LOGGER, 'test_step')
        if isinstance(self.dataset, ForeignData):
            self.dataset.try_out(self._predict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, by class number."""
        return tuple(self.dataset.metainfo['classes'])

    def _build_model(self, weights: Mapping[str, Any], allow_partial: bool, strip_prefix: str | None) -> Any:
        model = MODELS.build(model_config(self.cfg))
        report = checkpoint_io.load_weights(
            model, weights, strict=not allow_partial, source=self.checkpoint, strip_prefix=strip_prefix
        )
        if not report.complete:
            _LOGGER.warning(f'{self.checkpoint}: what does not fit the model was left out:\n{report.table()}')
        model = fit_sync_batch_norm(model.to(self.device), self.device, 1)
        apply_to_process(self.cfg.get('optimize'))
        apply_to_model(model, self.cfg.get('optimize'))
        return model.eval()

    def __call__(self, sources: Any, *, skip: Skip | None = None) -> Iterator[Result]:
        """Predict pictures one after the other.

        Args:
            sources: A source of :func:`~mmopt.apis.predict.sources.list_items` or several; a generator is read as it
                comes, up to two batches ahead. Arrays are uint8 RGB: of OpenCV's frames give ``frame[..., ::-1]``.
            skip: Called with a picture that cannot be read and the error; without it, the error is raised.

        Returns:
            The results, in the order of the sources and without the skipped.
        """
        if isinstance(sources, str | Path | np.ndarray):
            sources = [sources]
        items = iter(list_items(sources)) if isinstance(sources, Sequence) else _stream(sources)
        for batch in self.predict_batches(_batches(items, self.batch_size), skip=skip):
            for _, result in batch:
                yield result

    def predict_batches(
        self, batches: Iterable[Sequence[Item]], *, skip: Skip | None = None
    ) -> Iterator[list[tuple[Item, Result]]]:
        """Predict batch by batch; pictures of the next are read meanwhile.

        Args:
            batches: The pictures; what is predicted for one may depend on others of its batch where they differ in
                size, as in an evaluation.
            skip: See :meth:`__call__`.

        Returns:
            For every batch its pictures, without the skipped, and their results.
        """
        for pending in _read_ahead(batches, self.dataset):
            good: list[tuple[Item, Any]] = []
            for item, future in pending:
                try:
                    good.append((item, future.result()))
                except (DataError, OSError) as error:
                    if skip is None:
                        raise
                    skip(item, error)
            if not good:
                yield []
                continue
            samples = self._predict([sample for _, sample in good])
            yield [
                (item, self.dataset.to_result(sample.cpu() if hasattr(sample, 'cpu') else sample, item.source))
                for (item, _), sample in zip(good, samples, strict=True)
            ]

    def _predict(self, prepared: list[Any]) -> Any:
        with torch.no_grad(), autocast(self.device.type, DTYPES[self.precision]):
            return self._in_parts(self._collate(prepared))


def _own_config(checkpoint: str, content: Mapping[str, Any]) -> Config:
    source = saved_config(content)
    if not source.get('model'):
        raise UserError(f'{checkpoint} does not hold the config that it was trained with: name the config before it.')
    provide_extension(source)
    import_custom_modules(Path(checkpoint), source.get('custom_imports'))
    return Config(source)


def _loader(cfg: Mapping[str, Any]) -> Mapping[str, Any]:
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if not loader:
        raise UserError(
            'The config has neither a test nor a validation data set: their pipeline is what pictures go through.'
        )
    return loader


def _innermost(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the first data set inside wrappers."""
    while 'pipeline' not in section and (inside := section.get('dataset') or section.get('datasets')):
        section = inside if isinstance(inside, Mapping) else inside[0]
    return dict(section)


def _build_dataset(section: Mapping[str, Any], meta: Mapping[str, Any], checkpoint: str, cfg: Config) -> Any:
    """Build the data set for its pipeline and its task's knowledge: no annotation is read if classes are known."""
    kind = section['type'] if isinstance(section['type'], type) else DATASETS.get(section['type'])
    takes_part = hasattr(kind, 'predict_info') and hasattr(kind, 'to_result')
    if kind is not None and not takes_part and is_foreign(kind):
        return ForeignData(kind, section, meta.get('dataset_meta') or {}, cfg)
    if not takes_part:
        name = getattr(kind, '__name__', section['type'])
        raise UserError(
            f'{name}: detection and segmentation of pictures can be predicted so far. A data set of your own takes '
            'part with the methods predict_info and to_result (docs/predict.md).'
        )
    metainfo = dict(section.get('metainfo') or {})
    known = metainfo.get('classes') or getattr(kind, 'METAINFO', {}).get('classes')
    if not known and (trained := (meta.get('dataset_meta') or {}).get('classes')):
        metainfo['classes'] = tuple(trained)
    dataset = DATASETS.build(dict(section, metainfo=metainfo, lazy_init=True))
    if not dataset.metainfo.get('classes'):
        try:
            dataset.full_init()
        except (DataError, OSError) as error:
            raise UserError(
                f'{checkpoint} and the config name no classes, and the data set could not be asked: {error} '
                "Say metainfo=dict(classes=('name', ...)) in the data set."
            ) from error
    return dataset


def _stream(sources: Iterable[Any]) -> Iterator[Item]:
    for number, source in enumerate(sources):
        if isinstance(source, np.ndarray):
            yield Item(source, f'array_{number:06d}')
        else:
            yield from list_items([source])


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _read_ahead(batches: Iterable[Sequence[Item]], dataset: Any) -> Iterator[list[tuple[Item, Future]]]:
    """Read and prepare pictures in threads (decoders let go of the interpreter), one batch ahead of the model."""
    waiting: deque[list[tuple[Item, Future]]] = deque()
    with ThreadPoolExecutor(min(_MAX_READERS, usable_cores())) as pool:
        try:
            for batch in batches:
                waiting.append([(item, pool.submit(predict_sample, dataset, item.source)) for item in batch])
                if len(waiting) > 1:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(cancel_futures=True)
