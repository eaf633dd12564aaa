"""A trained model that predicts pictures of no data set, in the very way in which an evaluation predicts.

Test pipeline, data preprocessor, ``model.test_step``, precision and switches of the model are those of
``tools/test.py``, so that with the same batches the predictions of validation pictures are equal.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from mmopt.apis.config import load_config
from mmopt.apis.custom_imports import import_custom_modules
from mmopt.apis.predict.batch_size import BatchSize
from mmopt.apis.predict.exported.model import ExportedModel, is_graph
from mmopt.apis.predict.feed import build_dataset, evaluation_loader, innermost, metric_configs, own_config
from mmopt.apis.predict.film.cut import Cut
from mmopt.apis.predict.film.live import FilmEndedError
from mmopt.apis.predict.foreign.data import ForeignData
from mmopt.apis.predict.items import Item, ItemList
from mmopt.apis.predict.own_sources import configure, expand_sources, find_items, predict_cut
from mmopt.apis.predict.read_ahead import Loaded, read_ahead
from mmopt.apis.predict.sources import Sources, list_items, name_arrays
from mmopt.apis.run.facts import collate_of, model_config
from mmopt.apis.run.start import check_there
from mmopt.apis.run.tta import apply_tta
from mmopt.datasets.common.predict import Result
from mmopt.engine import checkpoint_io
from mmopt.engine.micro_batch import Predictor as InParts
from mmopt.engine.native_config import native_config
from mmopt.engine.optim.half_on_cpu import autocast
from mmopt.engine.optim.precision import evaluation_precision
from mmopt.engine.parallel.sync_batch_norm import fit_sync_batch_norm
from mmopt.engine.switches import apply_to_model, apply_to_process
from mmopt.registry import MODELS
from mmopt.utils.errors import DataError, UserError
from mmopt.utils.host import limit_threads
from mmopt.utils.precision import DTYPES, PRECISIONS, this_device
from mmopt.utils.seeding import prepare_determinism
from mmopt.utils.shipped import find_config

__all__ = ['Predictor', 'is_config']

_LOGGER = logging.getLogger('mmopt.predict')

Skip = Callable[[Item, Exception], None]


def is_config(path: str | Path) -> bool:
    """Tell a config, or the name of one that ships, from a checkpoint by its ending."""
    return find_config(path).suffix.lower() in ('.py', '.json', '.yaml', '.yml')


class Predictor:
    """A model and what feeds it.

    ``predictor(sources)`` gives one result after the other; see :class:`mmopt.datasets.detection.result` and
    :class:`mmopt.datasets.segmentation.result`.

    Args:
        checkpoint_or_config: A checkpoint, whose own config is taken, a config, or a file of ``tools/export.py``.
        checkpoint: The weights, behind a config.
        device: ``'auto'``, or what torch calls one.
        precision: ``'auto'``: what an evaluation of this checkpoint computes in; or ``fp32``, ``fp16``, ``bf16``.
        batch_size: Pictures that are predicted at once; None: as many as an evaluation; ``'auto'``: as many as predict
            fastest, see :mod:`mmopt.apis.predict.batch_size`.
        options: ``key=value`` texts that change the config file.
        source_options: What is to be known of sources, by name; see :meth:`say`.
        allow_partial: Go on where weights do not fit the model.
        strip_prefix: Taken off the names of the weights.
        allow_pickle: See :func:`mmopt.engine.checkpoint_io.load`.
        tta: Test-time augmentation: predict mirror images and other sizes as well; see :mod:`mmopt.apis.run.tta`.

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
        batch_size: int | str | None = None,
        options: Sequence[str] = (),
        source_options: Mapping[str, Any] | None = None,
        allow_partial: bool = False,
        strip_prefix: str | None = None,
        allow_pickle: bool = False,
        tta: bool = False,
    ) -> None:
        if precision not in ('auto', *PRECISIONS):
            raise UserError(f'precision must be auto, {", ".join(PRECISIONS)}; got {precision!r}.')
        if batch_size not in (None, 'auto') and (not isinstance(batch_size, int) or batch_size < 1):
            raise UserError(f'The batch must be a number of at least 1 or auto, got {batch_size!r}.')
        self.config = str(checkpoint_or_config) if checkpoint is not None or is_config(checkpoint_or_config) else None
        if self.config is not None and checkpoint is None:
            raise UserError(f'{self.config} is a config: name the checkpoint behind it.')
        if self.config is None and options:
            raise UserError('Options change a config file: name it before the checkpoint.')
        self.checkpoint = str(checkpoint_or_config if checkpoint is None else checkpoint)
        check_there(self.checkpoint)
        limit_threads()
        graph: ExportedModel | None = None
        content: dict[str, Any] = {}
        if is_graph(self.checkpoint):
            graph = self._open_graph(device, precision, tta=tta)
            cfg, meta = graph.config, graph.meta
            import_custom_modules(Path(self.checkpoint), cfg.get('custom_imports'))
        else:
            content = checkpoint_io.load(self.checkpoint, allow_pickle=allow_pickle)
            own = self.config is None
            cfg = own_config(self.checkpoint, content) if own else load_config(str(self.config), options=options)
            meta = content['meta']
        self.cfg: Config = native_config(apply_tta(cfg) if tta else cfg)
        prepare_determinism(self.cfg.get('randomness'))
        init_default_scope(self.cfg.get('default_scope', 'mmopt'))
        loader = evaluation_loader(self.cfg)
        section = innermost(loader['dataset'])
        self.dataset = build_dataset(section, meta, self.checkpoint, self.cfg)
        self._trained = meta.get('dataset_meta') or {}
        self.source_options: dict[str, Any] = {}
        """What the user said of sources."""
        self.say(**(source_options or {}))
        self.is_cutting = hasattr(self.dataset, 'open_source')
        """Whether sources are cut into samples, as recordings are: then they do not share batches."""
        self.tell: Callable[[float], object] = lambda share: None
        """Called with the share of a recording that is predicted."""
        self.pipeline = section.get('pipeline')
        """The config of what a picture goes through."""
        is_fixed = batch_size != 'auto'
        first = batch_size if isinstance(batch_size, int) else int(loader.get('batch_size') or 1)
        self._collate = collate_of(loader)
        if graph is None:
            self.device = torch.device(get_device() if device == 'auto' else device)
            self.precision = self._choose_precision(precision, meta)
            """What it computes in."""
            self.model = self._build_model(content['state_dict'], allow_partial, strip_prefix)
        else:
            self.device, self.precision, self.model = graph.device, 'fp32', graph
        self._in_parts = InParts(self.model, _LOGGER, 'test_step')
        if isinstance(self.dataset, ForeignData):
            self.dataset.try_out(self._predict)
        self.batch_size = BatchSize(first if is_fixed else 1, is_fixed)
        """How many pictures are predicted at once."""

    def _open_graph(self, device: str, precision: str, *, tta: bool) -> ExportedModel:
        if self.config is not None:
            raise UserError(f'{self.checkpoint} knows its pipeline: name it without a config.')
        if precision not in ('auto', 'fp32'):
            raise UserError(f'precision {precision}: an exported graph computes in fp32.')
        if tta:
            raise UserError(f'--tta: {self.checkpoint} computes what it was exported with: tools/export.py --tta.')
        return ExportedModel(self.checkpoint, device)

    def _choose_precision(self, precision: str, meta: Mapping[str, Any]) -> str:
        if precision == 'auto' and (self.cfg.get('test_cfg') or {}).get('fp16'):
            return 'fp16'  # of the evaluation, whatever the run was trained in
        if precision == 'auto':
            return evaluation_precision(self.cfg.get('optim_wrapper'), meta.get('precision'), self.device.type)
        if this_device(self.device.type).support(precision).level == 'missing':
            raise UserError(f'precision {precision}: {self.device} does not compute it; use auto.')
        return precision

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

    def takes(self, name: str) -> bool:
        """Tell whether something can be said of sources."""
        return name in getattr(self.dataset, 'predict_options', {})

    def say(self, **options: Any) -> None:
        """Say what is to be known of sources, beside what was said before.

        Args:
            **options: By name, as texts or values; None says nothing. What there is depends on the data set class:
                ``predict_options`` of :mod:`mmopt.datasets.common.cut_source`.

        Raises:
            UserError: If the data set does not take one, or not its value.
        """
        self.source_options |= {name: value for name, value in options.items() if value is not None}
        configure(self.dataset, self.source_options, self._trained, metric_configs(self.cfg))

    def list_items(
        self, sources: Sequence[Any], *, without: str | Path | None = None, how: Sources | None = None
    ) -> ItemList:
        """List what sources hold that this model predicts.

        Args:
            sources: See :meth:`__call__`.
            without: A folder whose content is no source.
            how: See :meth:`__call__`.

        Returns:
            The items of :meth:`predict_batches`.
        """
        if self.is_cutting:
            return find_items(self.dataset, sources, without=without)
        if hasattr(self.dataset, 'find_sources'):
            sources = expand_sources(self.dataset, sources)
        return list_items(sources, without=without, how=how or self.how())

    def how(
        self, cut: Cut | None = None, fps: float | None = None, events: str | None = None, stdin: Any = None
    ) -> Sources:
        """Return how sources are read for this model.

        Args:
            cut: What is predicted of films.
            fps: See :class:`~mmopt.apis.predict.sources.Sources`.
            events: The folder of the second pictures, for a model that takes pairs.
            stdin: What ``-`` reads; None: standard input.

        Returns:
            It.

        Raises:
            UserError: If ``events`` is given to a model of single pictures.
        """
        takes_pairs = getattr(self.dataset, 'takes_pairs', False)
        if events is not None and not takes_pairs:
            raise UserError(f'--events {events}: the model takes single pictures, no pairs.')
        pair_up = (lambda paths: self.dataset.pair_up(paths, events)) if takes_pairs else None
        return Sources(cut or Cut(), fps, pair_up, stdin)

    def __call__(
        self, sources: Any, *, skip: Skip | None = None, how: Sources | None = None, keep_pictures: bool = False
    ) -> Iterator[Result]:
        """Predict pictures one after the other.

        Args:
            sources: A source of :func:`~mmopt.apis.predict.sources.list_items` or several, or what the data set class
                finds recordings in; a generator is read as it comes, up to two batches ahead. Arrays are uint8 RGB: of
                OpenCV's frames give ``frame[..., ::-1]``.
            skip: Called with a picture that cannot be read and the error; without it, the error is raised.
            how: What is read of films and pairs; by default all of a film.
            keep_pictures: Keep in each result the picture that was read, for drawing; else it is read again. Results
                of films always have their frames.

        Returns:
            The results, in the order of the sources and without the skipped.
        """
        how = how or self.how()
        if isinstance(sources, str | Path | np.ndarray | torch.Tensor | Mapping):
            sources = [sources]
        is_list = isinstance(sources, Sequence)
        items: Iterable[Item] = self.list_items(sources, how=how) if is_list else self._stream(sources, how)
        batches = self._batches(iter(items))
        for batch in self.predict_batches(batches, skip=skip, keep_pictures=keep_pictures):
            for _, result in batch:
                yield result

    def _batches(self, items: Iterator[Item]) -> Iterator[list[Item]]:
        while batch := list(islice(items, 1 if self.is_cutting else self.batch_size.size)):
            yield batch

    def ask_for(self, attribute: str) -> None:
        """Let the model give what it does not give otherwise.

        Args:
            attribute: Of the model, set to true.

        Raises:
            UserError: If the model has no such attribute.
        """
        if not hasattr(self.model, attribute):
            raise UserError(f'{type(self.model).__name__} gives no {attribute.removeprefix("keep_")}.')
        setattr(self.model, attribute, True)

    def stream(
        self,
        source: str | Path | int,
        *,
        start: str | int | None = None,
        end: str | int | None = None,
        step: str | int | None = None,
        fps: float | None = None,
        skip: Skip | None = None,
    ) -> Iterator[Result]:
        """Predict a film frame by frame, in bounded memory while no result is kept.

        Args:
            source: A film, a folder of numbered frames, or the number of a camera.
            start: The first frame (``300``) or time (``'12.5s'``, ``'1:30'``).
            end: The first frame or time that is left out.
            step: Frames or seconds from one frame to the next.
            fps: Frames per second of a folder.
            skip: See :meth:`__call__`.

        Returns:
            Results with ``frame`` and ``time_s``.
        """
        how = self.how(Cut.parse(start, end, step), 30.0 if fps is None else fps)
        return self([str(source)], skip=skip, how=how)

    def predict_batches(
        self, batches: Iterable[Sequence[Item]], *, skip: Skip | None = None, keep_pictures: bool = False
    ) -> Generator[list[tuple[Item, Result]], None, None]:
        """Predict batch by batch; pictures of the next are read meanwhile.

        Args:
            batches: The pictures; what is predicted for one may depend on others of its batch where they differ in
                size, as in an evaluation.
            skip: See :meth:`__call__`.
            keep_pictures: See :meth:`__call__`.

        Returns:
            For every batch its pictures, without the skipped, and their results.
        """
        if self.is_cutting:
            yield from self._predict_cut(batches, skip)
            return
        has_ended = False
        for pending in read_ahead(batches, self.dataset, keep_pictures=keep_pictures):
            good: list[tuple[Item, Loaded]] = []
            for item, future in pending:
                try:
                    good.append((item, future.result()))
                except (DataError, OSError) as error:
                    if skip is None:
                        raise
                    skip(item, error)
                except FilmEndedError:
                    has_ended = True
                    break
            yield self._predict_loaded(good) if good else []
            if has_ended:
                return

    def _predict_loaded(self, batch: Sequence[tuple[Item, Loaded]]) -> list[tuple[Item, Result]]:
        samples = self._predict_timed([loaded.sample for _, loaded in batch])
        results = []
        for (item, loaded), sample in zip(batch, samples, strict=True):
            source = item.source if loaded.picture is None else loaded.picture
            file = None if isinstance(item.source, np.ndarray) else item.file
            results.append((item, self.dataset.to_result(sample, source).found_in(file, item.frame, item.time_s)))
        return results

    def _predict_cut(
        self, batches: Iterable[Sequence[Item]], skip: Skip | None
    ) -> Generator[list[tuple[Item, Result]], None, None]:
        for item in chain.from_iterable(batches):
            try:
                result = predict_cut(
                    self.dataset, item.source, lambda: self.batch_size.size, self._predict_timed, self.tell
                )
            except (DataError, OSError) as error:
                if skip is None:
                    raise
                skip(item, error)
            else:
                yield [(item, result.found_in(item.file))]

    def _predict_timed(self, prepared: list[Any]) -> list[Any]:
        start = time.perf_counter()
        samples = [sample.cpu() if hasattr(sample, 'cpu') else sample for sample in self._predict(prepared)]
        self.batch_size.note(len(prepared), time.perf_counter() - start, self._in_parts.state.size)
        return samples

    def _stream(self, sources: Iterable[Any], how: Sources) -> Iterator[Item]:
        for number, source in enumerate(sources):
            if self.is_cutting or isinstance(source, str | Path):
                yield from self.list_items([source], how=how)
            else:
                for picture, name in name_arrays(source, number):
                    yield Item(picture, name)

    def _predict(self, prepared: list[Any]) -> Any:
        with torch.no_grad(), autocast(self.device.type, DTYPES[self.precision]):
            return self._in_parts(self._collate(prepared))
