"""Predict sources into a folder: what ``tools/predict.py`` calls.

Beside the formats the folder holds ``predictions.json`` (with what, from what, what was skipped and why) and
``records.jsonl`` (what is done), by which the same command goes on after an interruption.
"""

import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import mmengine
import numpy as np
import torch
from tqdm import tqdm

import mmopt
from mmopt.apis.predict.predictor import Predictor
from mmopt.apis.predict.records import Records
from mmopt.apis.predict.sources import Item, list_items
from mmopt.apis.predict.write_behind import WriteBehind
from mmopt.apis.predict.writers import Format, choose_formats, known_formats
from mmopt.datasets.common.predict import Result
from mmopt.engine.resume.saved_config import plain
from mmopt.utils.errors import UserError
from mmopt.utils.run_lock import hold_folder

__all__ = ['Predicted', 'predict_into']

_COMPARED = ('checkpoint_sha256', 'config_sha256', 'precision', 'confidence')
"""What must be the same for a prediction to go on."""


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
    predictor: Predictor,
    sources: Sequence[str],
    out: str | Path,
    *,
    formats: Sequence[str] | None = None,
    confidence: float | None = None,
    strict: bool = False,
) -> Predicted:
    """Predict sources and write the results; what an earlier call of the same has done stays.

    Args:
        predictor: The model.
        sources: See :func:`~mmopt.apis.predict.sources.list_items`.
        out: The output folder; made if need be.
        formats: Names of formats; None for all of the task.
        confidence: Boxes of less are left out; None keeps all that the model gives.
        strict: Stop at a picture that cannot be read, instead of skipping it.

    Returns:
        What was done.

    Raises:
        UserError: If a source, format or the folder does not serve, or the folder holds another model's predictions.
    """
    out = Path(out)
    if confidence is not None and not 0 <= confidence <= 1:
        raise UserError(f'--conf must be between 0 and 1, got {confidence:g}.')
    names = choose_formats(predictor.dataset.result_type, formats)
    items = list_items(sources, without=out)
    manifest = _describe(predictor, sources, names, confidence)
    out.mkdir(parents=True, exist_ok=True)
    with hold_folder(out) as holder:
        if holder is not None:
            raise UserError(
                f'{out}: process {holder.get("pid")} on {holder.get("host")} predicts into this folder; wait for it, '
                'or name another with --out.'
            )
        _check_same(out, manifest)
        return _predict(predictor, items, out, names, manifest, confidence, strict=strict)


def _predict(
    predictor: Predictor,
    items: Sequence[Item],
    out: Path,
    names: Sequence[str],
    manifest: dict[str, Any],
    confidence: float | None,
    *,
    strict: bool,
) -> Predicted:
    _write(out, manifest | dict(complete=False))
    skipped: dict[str, str] = {}

    formats_of_task = known_formats(predictor.dataset.result_type)
    each = {name: chosen for name in names if (chosen := formats_of_task[name]).write is not None}
    with Records(out, [chosen.path for chosen in each.values()]) as records:
        num_before = sum(map(records.has, items))
        bar = tqdm(total=len(items), initial=num_before, desc='predict', unit='file', disable=None, leave=False)

        def skip(item: Item, error: Exception) -> None:
            skipped[item.file] = ' '.join(str(error).split())
            tqdm.write(f'skipped: {skipped[item.file]}', file=sys.stderr)
            bar.update()

        def write(item: Item, result: Result) -> None:
            _write_one(result, item, out, each.values())

        def note(item: Item, result: Result) -> None:
            records.add(item, result)
            bar.update()

        with bar, WriteBehind(write, note) as behind:
            todo = _batches_to_do(items, predictor.batch_size, records)
            for batch in predictor.predict_batches(todo, skip=None if strict else skip):
                new = [(item, result) for item, result in batch if not records.has(item)]
                behind.put([(item, result if confidence is None else result.above(confidence)) for item, result in new])
        num_done = sum(map(records.has, items))
        for name in names:
            chosen = formats_of_task[name]
            if chosen.gather is not None:
                chosen.gather(records.read(items), predictor.classes, out / chosen.path)
    listed = [dict(file=file, reason=reason) for file, reason in skipped.items()]
    _write(out, manifest | dict(complete=True, num_predicted=num_done, skipped=listed))
    files = tuple(str(out / formats_of_task[name].path.format(name='*')) for name in names)
    return Predicted(num_done - num_before, num_before, tuple(skipped.items()), files)


def _batches_to_do(items: Sequence[Item], size: int, records: Records) -> Iterator[Sequence[Item]]:
    """Cut the list into batches and leave out the finished: what remains has the batches of one uninterrupted run."""
    for start in range(0, len(items), size):
        batch = items[start : start + size]
        if not all(map(records.has, batch)):
            yield batch


def _write_one(result: Result, item: Item, out: Path, formats: Iterable[Format]) -> None:
    for chosen in formats:
        if chosen.write is not None:
            path = out / chosen.path.format(name=item.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            chosen.write(result, path)


def _describe(
    predictor: Predictor, sources: Sequence[str], formats: Sequence[str], confidence: float | None
) -> dict[str, Any]:
    cfg = predictor.cfg
    deciding = [cfg.get('model'), cfg.get('data_preprocessor'), predictor.pipeline, predictor.classes]
    return dict(
        model=type(predictor.model).__name__,
        config=predictor.config or 'of the checkpoint',
        config_sha256=hashlib.sha256(repr(plain(deciding)).encode()).hexdigest(),
        checkpoint=predictor.checkpoint,
        checkpoint_sha256=_digest(predictor.checkpoint),
        classes=list(predictor.classes),
        device=str(predictor.device),
        precision=predictor.precision,
        batch=predictor.batch_size,
        confidence=confidence,
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


def _digest(checkpoint: str) -> str:
    if '://' in checkpoint:
        return hashlib.sha256(checkpoint.encode()).hexdigest()
    with open(checkpoint, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _check_same(out: Path, manifest: dict[str, Any]) -> None:
    path = out / 'predictions.json'
    if not path.is_file():
        return
    try:
        before = json.loads(path.read_text(encoding='utf-8'))
        changed = [key for key in _COMPARED if before[key] != manifest[key]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} cannot be read ({error}): name another folder with --out, or delete {out}.') from error
    if changed:
        key = changed[0]
        values = '' if key.endswith('sha256') else f' ({before[key]}, now {manifest[key]})'
        raise UserError(
            f'{out} holds predictions of another {key.removesuffix("_sha256")}{values}: name another folder with '
            '--out, or delete this one.'
        )


def _write(out: Path, manifest: dict[str, Any]) -> None:
    draft = out / '.predictions.json'
    draft.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')
    draft.replace(out / 'predictions.json')
