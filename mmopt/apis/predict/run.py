"""Predict sources into a folder: what ``tools/predict.py`` calls.

Beside the formats the folder holds ``predictions.json`` (with what, from what, what was skipped and why) and
``records.jsonl`` (what is done), by which the same command goes on after an interruption.
"""

import hashlib
import json
import math
import platform
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import mmengine
import numpy as np
import torch
from tqdm import tqdm

import mmopt
from mmopt.apis.predict.film.cut import Cut
from mmopt.apis.predict.film.file import FilmFile
from mmopt.apis.predict.formats.writers import Plan
from mmopt.apis.predict.items import Item, ItemList
from mmopt.apis.predict.predictor import Predictor
from mmopt.apis.predict.records import Records, remove_predictions
from mmopt.apis.predict.skipped import Skipped
from mmopt.apis.predict.write_behind import WriteBehind
from mmopt.datasets.common.predict import Result
from mmopt.engine.resume.saved_config import plain
from mmopt.utils.errors import UserError
from mmopt.utils.run_lock import hold_folder

__all__ = ['Options', 'Predicted', 'predict_into']

_COMPARED = ('checkpoint_sha256', 'config_sha256', 'precision', 'confidence', 'film', 'source_options')
"""What must be the same for a prediction to go on."""


@dataclass(frozen=True)
class Options:
    """What is written, and how it goes on.

    Attributes:
        formats: Names of formats; None for those that the task writes by default.
        confidence: Boxes of less are left out; None keeps all that the model gives.
        show_every: Drawings of every so many pictures alone; None: of all, of films none.
        strict: Stop at a picture that cannot be read, instead of skipping it.
        overwrite: Remove what an earlier prediction has written into the folder, and begin anew.
        start: First frame or time of films, see :meth:`~mmopt.apis.predict.film.cut.Moment.parse`.
        end: First frame or time that is left out.
        step: Frames or seconds from one frame to the next.
        fps: Frames per second of folders of numbered frames, which makes films of them.
        events: The folder of the second pictures, for a model of pairs.
    """

    formats: Sequence[str] | None = None
    confidence: float | None = None
    show_every: int | None = None
    strict: bool = False
    overwrite: bool = False
    start: str | int | None = None
    end: str | int | None = None
    step: str | int | None = None
    fps: float | None = None
    events: str | None = None


@dataclass(frozen=True)
class Predicted:
    """What became of the sources.

    Attributes:
        num_new: Pictures that were predicted now.
        num_before: Pictures that were done before.
        skipped: File and reason of those that could not be read.
        files: What was written, patterns of the picture's formats among it.
    """

    num_new: int
    num_before: int
    skipped: tuple[tuple[str, str], ...]
    files: tuple[str, ...]


def predict_into(
    predictor: Predictor, sources: Sequence[str], out: str | Path, options: Options | None = None, **more: Any
) -> Predicted:
    """Predict sources and write the results; what an earlier call of the same has done stays.

    Args:
        predictor: The model.
        sources: See :func:`~mmopt.apis.predict.sources.list_items`.
        out: The output folder; made if need be.
        options: What is written, and of what.
        **more: Single options, in the place of ``options``.

    Returns:
        What was done.

    Raises:
        UserError: If a source, format or the folder does not serve, or the folder holds another model's predictions.
    """
    out, options = Path(out), options or Options(**more)
    if options.confidence is not None and not 0 <= options.confidence <= 1:
        raise UserError(f'--conf must be between 0 and 1, got {options.confidence:g}.')
    kind = predictor.dataset.result_type
    if options.confidence is not None and kind.above is Result.above:
        raise UserError(f'--conf {options.confidence:g}: nothing of {kind.task} is left out by its confidence.')
    if options.fps is not None and options.fps <= 0:
        raise UserError(f'--fps must be above 0, got {options.fps:g}.')
    plan = Plan(predictor.dataset.result_type, options.formats, options.show_every)
    for chosen in plan.formats.values():
        if chosen.needs is not None:
            predictor.ask_for(chosen.needs)
    if predictor.takes('fps'):  # not of folders of frames, but of what the data set knows
        predictor.say(fps=options.fps)
        options = replace(options, fps=None)
    cut = Cut.parse(options.start, options.end, options.step)
    if predictor.is_cutting and cut != Cut():
        raise UserError('--start, --end and --step are for films of single pictures: recordings are predicted whole.')
    manifest = _describe(predictor, sources, plan.names, options)
    with ExitStack() as stack:
        how = predictor.how(cut, options.fps, options.events)
        stack.callback(how.open_film.close)
        items = predictor.list_items(sources, without=out, how=how)
        if items.live is not None:
            stack.callback(items.live.close)
        if options.formats and 'mp4' in plan.formats and not items.films:
            raise UserError('--format mp4: no source is a film; --fps N makes one of a folder of numbered frames.')
        out.mkdir(parents=True, exist_ok=True)
        holder = stack.enter_context(hold_folder(out))
        if holder is not None:
            raise UserError(
                f'{out}: process {holder.get("pid")} on {holder.get("host")} predicts into this folder; wait for it, '
                'or name another with --out.'
            )
        if options.overwrite:
            remove_predictions(out)
        _check_same(out, manifest, items)
        return _Run(predictor, items, out, plan, manifest, options).go()


class _Run:
    """One prediction into a folder."""

    def __init__(
        self,
        predictor: Predictor,
        items: ItemList,
        out: Path,
        plan: Plan,
        manifest: dict[str, Any],
        options: Options,
    ) -> None:
        self.predictor = predictor
        self.items = items
        self.out = out
        self.plan = plan
        self.manifest = manifest
        self.options = options
        self.skipped = Skipped()
        self.num_noted = 0
        self.films: dict[str, FilmFile] = {}

    def go(self) -> Predicted:
        _write(self.out, self.manifest | dict(complete=False))
        with Records(self.out, self._templates, self._covers) as records:
            if self.plan.film is not None:
                for film in self.items.films:
                    path = self.out / self.plan.film.path.format(name=film.name)
                    self.films[film.name] = FilmFile(path, film, records.is_made(film))
            num_before = sum(map(records.has, self.items)) if self.items.live is None else 0
            with self._bar(num_before) as bar:
                self._predict(records, bar)
            return self._finish(records, num_before)

    def _templates(self, item: Item) -> list[str]:
        return [chosen.path for chosen in self.plan.of(item)]

    def _covers(self, item: Item) -> bool:
        return item.film is None or not self.films or self.films[item.film.name].covers(item.place)

    def _bar(self, num_before: int) -> tqdm:
        unit = 'frame' if self.items.films else 'recording' if self.predictor.is_cutting else 'file'
        total = None if self.items.live is not None else len(self.items)
        return tqdm(total=total, initial=num_before, desc='predict', unit=unit, disable=None, leave=False)

    def _predict(self, records: Records, bar: tqdm) -> None:
        confidence = self.options.confidence

        def skip(item: Item, error: Exception) -> None:
            if self.skipped.add(item, error):
                tqdm.write(f'skipped: {" ".join(str(error).split())}', file=sys.stderr)
            finish_one() if self.predictor.is_cutting else bar.update()

        def note(item: Item, result: Result) -> None:
            records.add(item, result)
            self.num_noted += 1
            if not self.predictor.is_cutting:
                bar.update()

        def finish_one() -> None:
            bar.n = math.floor(bar.n) + 1
            bar.refresh()

        def tell(share: float) -> None:
            if share >= 1:
                finish_one()
            elif (shown := math.floor(bar.n) + math.floor(100 * share) / 100) != bar.n:
                bar.n = shown
                bar.refresh()

        self.predictor.tell = tell
        append = self._append if self.films else None
        size = self.predictor.batch_size
        if self.predictor.is_cutting:
            todo = self.items.batches(lambda: 1, records.has, packed=True)
        else:
            todo = self.items.batches(lambda: size.size, records.has, packed=not size.is_fixed)
        try:
            with WriteBehind(self._write_one, note, append) as behind, ExitStack() as stack:
                batches = self.predictor.predict_batches(
                    todo,
                    skip=None if self.options.strict else skip,
                    keep_pictures=self.plan.draws,
                )
                for batch in stack.enter_context(closing(batches)):
                    new = [(item, result) for item, result in batch if not records.has(item)]
                    if confidence is not None:
                        new = [(item, result.above(confidence)) for item, result in new]
                    behind.put(new)
        except KeyboardInterrupt:
            if self.items.live is None:  # a camera has no other end
                raise
        finally:
            for file in self.films.values():
                file.pause()

    def _write_one(self, item: Item, result: Result) -> None:
        for chosen in self.plan.of(item):
            assert chosen.write is not None
            path = self.out / chosen.path.format(name=item.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            chosen.write(result, path)
        if self.films and item.film is not None:
            _ = result.drawing  # here, where several are drawn at once

    def _append(self, item: Item, result: Result) -> None:
        chosen = self.plan.film
        assert item.film is not None
        assert chosen is not None
        assert chosen.film is not None
        self.films[item.film.name].add(item.place, result.time_s or 0.0, chosen.film(result))

    def _finish(self, records: Records, num_before: int) -> Predicted:
        items, plan = self.items, self.plan
        for film in items.films:
            if (num_missing := getattr(film, 'num_missing', 0)) > 0:
                self.skipped.add_missing(film, num_missing)
            if film.name in self.films and self.films[film.name].finish() and not records.is_made(film):
                assert plan.film is not None
                records.add_film(film, plan.film.path)
        # What was done before and has changed since is new, but no more.
        num_new = sum(map(records.has, items)) - num_before if items.live is None else self.num_noted
        for chosen in plan.formats.values():
            if chosen.gather is not None:
                chosen.gather(records.read(items), self.predictor.classes, self.out / chosen.path)
        listed = self.skipped.listed()
        _write(self.out, self.manifest | dict(complete=True, num_predicted=num_before + num_new, skipped=listed))
        files = plan.files(has_pictures=items.has_pictures, has_films=bool(items.films))
        return Predicted(
            num_new,
            num_before,
            tuple((entry['file'], entry['reason']) for entry in listed),
            tuple(str(self.out / path.format(name='*')) for path in files),
        )


def _describe(predictor: Predictor, sources: Sequence[str], formats: Sequence[str], options: Options) -> dict[str, Any]:
    cfg = predictor.cfg
    deciding = [cfg.get('model'), cfg.get('data_preprocessor'), predictor.pipeline, predictor.classes]
    return dict(
        model=getattr(predictor.model, 'name', type(predictor.model).__name__),
        config=predictor.config or 'of the checkpoint',
        config_sha256=hashlib.sha256(repr(plain(deciding)).encode()).hexdigest(),
        checkpoint=predictor.checkpoint,
        checkpoint_sha256=_digest(predictor.checkpoint),
        classes=list(predictor.classes),
        device=str(predictor.device),
        precision=predictor.precision,
        batch=predictor.batch_size.size if predictor.batch_size.is_fixed else 'auto',
        confidence=options.confidence,
        film={key: getattr(options, key) for key in ('start', 'end', 'step', 'fps')},
        source_options={name: _told(value) for name, value in predictor.source_options.items()},
        formats=list(formats),
        sources=[str(source) for source in sources],
        versions=dict(
            mmopt=mmopt.__version__,
            torch=torch.__version__,
            mmengine=mmengine.__version__,
            numpy=np.__version__,
            opencv=cv2.__version__,
            python=platform.python_version(),
        ),
    )


def _told(value: Any) -> Any:
    """Return what the manifest says of an option; of a file its content, too: another one gives other predictions."""
    if isinstance(value, str | Path) and Path(value).is_file():
        return f'{value} (SHA-256 {_digest(str(value))})'
    return json.loads(json.dumps(plain(value), default=str))


def _digest(checkpoint: str) -> str:
    if '://' in checkpoint:
        return hashlib.sha256(checkpoint.encode()).hexdigest()
    with open(checkpoint, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _check_same(out: Path, manifest: dict[str, Any], items: ItemList) -> None:
    path, records = out / 'predictions.json', out / 'records.jsonl'
    if not (path.is_file() and records.is_file() and records.stat().st_size):  # nothing is done that could differ
        return
    if items.live is not None:
        raise UserError(
            f'{out} holds predictions, and {items.live.path} passes by only once, so they cannot go on: name another '
            'folder with --out, or begin anew with --overwrite.'
        )
    try:
        before = json.loads(path.read_text(encoding='utf-8'))
        changed = [key for key in _COMPARED if before[key] != manifest[key]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path} cannot be read ({error}): name another folder with --out, or begin anew with --overwrite.'
        ) from error
    if changed:
        key = changed[0]
        values = '' if key.endswith('sha256') else f' ({before[key]}, now {manifest[key]})'
        raise UserError(
            f'{out} holds predictions of another {key.removesuffix("_sha256")}{values}: name another folder with '
            '--out, or begin anew with --overwrite.'
        )


def _write(out: Path, manifest: dict[str, Any]) -> None:
    draft = out / '.predictions.json'
    draft.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')
    draft.replace(out / 'predictions.json')
