"""Look at a data set before a training: read every sample, count what is in it, and show the oddest ones.

It is what ``tools/datasets/check.py`` calls. What a sample holds is the data set's to say, in ``describe_sample``
(:mod:`mmopt.datasets.common.facts`); any other data set is read and counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmopt.apis.cli.errors import explain
from mmopt.apis.pictures.painter import find_painter
from mmopt.apis.pictures.save import spread, write_picture
from mmopt.apis.run.facts import build_dataset
from mmopt.datasets.common import SampleFacts, SeededDataset
from mmopt.datasets.common.facts import OddSample, find_odd, short
from mmopt.datasets.common.pictures import contact_sheet, write_text
from mmopt.utils.errors import UserError
from mmopt.utils.seeding import SampleIndex
from mmopt.utils.terminal import number

__all__ = ['SPLITS', 'SplitReport', 'check_split', 'find_splits']

SPLITS = ('train', 'val', 'test')
_SHOWN = 5  # broken samples that a report lists
_NUM_ODD = 5
_SHEET_WIDTH = 1000  # of one picture


@dataclass
class SplitReport:
    """What one split holds.

    Attributes:
        name: ``train``, ``val`` or ``test``.
        total: Its samples.
        facts: Of the samples that were read.
        broken: What is wrong with those that could not be read.
        nothing: Why there is nothing to learn; empty if there is.
        targets: What the data set counts.
        classes: Its classes, in the model's order.
        odd: The oddest samples with a name, the oddest first.
        sheet: Picture of them; None where nobody draws or nothing is odd.
    """

    name: str
    total: int
    facts: list[SampleFacts] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    nothing: str = ''
    targets: str = 'targets'
    classes: tuple[str, ...] = ()
    odd: list[tuple[str, OddSample]] = field(default_factory=list)
    sheet: Path | None = None

    @property
    def is_good(self) -> bool:
        """Whether all samples can be read and there is something to learn."""
        return not self.broken and not self.nothing

    def __str__(self) -> str:
        read = len(self.facts) + len(self.broken)
        lines = [f'{self.name}: {number(self.total)} samples, {number(read)} read, {number(len(self.broken))} broken']
        lines += [f'  broken: {text}' for text in self.broken[:_SHOWN]]
        if len(self.broken) > _SHOWN:
            lines.append(f'  and {len(self.broken) - _SHOWN} more')
        if self.nothing:
            lines.append(f'  nothing to learn: {self.nothing}')
        lines += [f'  {line}' for line in (*_targets(self), *_numbers(self.facts))]
        for place, (name, odd) in enumerate(self.odd, start=1):
            lines.append(f'  odd {place}: {name}: {"; ".join(odd.reasons[:3])}')
        if self.sheet is not None:
            lines.append(f'  pictures of these: {self.sheet}')
        return '\n'.join(lines)


def _targets(report: SplitReport) -> list[str]:
    if not any(sample.targets for sample in report.facts):
        return []
    sums: Counter[str] = Counter()
    for sample in report.facts:
        sums.update(sample.targets)
    having = Counter(name for sample in report.facts for name in sample.targets)
    are_shares = report.targets.startswith('share')
    names = [*report.classes, *(name for name in sums if name not in report.classes)]

    def told(name: str) -> str:
        if not sums[name]:
            return f'{name} none'
        amount = f'{sums[name] / len(report.facts):.2%}' if are_shares else number(round(sums[name]))
        return f'{name} {amount} in {number(having[name])}'

    whole = '' if are_shares else f'{number(round(sum(sums.values())))} '
    return [f'{whole}{report.targets}, by class and in how many samples: {", ".join(map(told, names))}']


def _numbers(facts: Sequence[SampleFacts]) -> list[str]:
    lines = []
    for name in dict.fromkeys(name for sample in facts for name in sample.numbers):
        values = np.array([sample.numbers[name] for sample in facts if name in sample.numbers])
        low, middle, high = (short(value) for value in np.percentile(values, [0, 50, 100]).tolist())
        told = f'{low} in all' if low == high else f'{low} to {high}, middle {middle}'
        lines.append(f'{name}: {told}')
    return lines


def find_splits(cfg: Mapping[str, Any]) -> list[str]:
    """Return the splits of a lowered config; a test set that is the validation set is left out."""
    sets = {name: (cfg.get(f'{name}_dataloader') or {}).get('dataset') for name in SPLITS}
    return [name for name in SPLITS if sets[name] and not (name == 'test' and sets['test'] == sets['val'])]


class _Examined(Dataset):
    """Samples as facts, so that workers send numbers and no pictures."""

    def __init__(self, parts: Sequence[Any], places: Sequence[tuple[int, int]], seed: int) -> None:
        self.parts, self.places, self.seed = parts, places, seed

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, position: int) -> tuple[int, SampleFacts | str]:
        part, index = self.places[position]
        dataset = self.parts[part]
        try:
            dataset[SampleIndex(index, self.seed, 0)]
            describe = getattr(dataset, 'describe_sample', None)
            return position, SampleFacts(f'sample {index}') if describe is None else describe(index)
        except Exception as error:
            text = explain(error)
            if text is None:  # a bug, whose traceback is needed
                raise
            return position, ' '.join(text.split())


def check_split(cfg: Config, name: str, folder: Path, *, limit: int | None = None, num_workers: int = 0) -> SplitReport:
    """Read the samples of a split and write ``<name>_odd.jpg`` of the oddest ones.

    Those of mmopt's data sets go through the pipeline of evaluation, which distorts nothing, where the config has one
    for the same kind of data set.

    Args:
        cfg: A lowered config.
        name: ``train``, ``val`` or ``test``.
        folder: Where the picture goes; made if need be.
        limit: Samples to read at most, spread over the split; None: all.
        num_workers: Processes.

    Returns:
        The report.

    Raises:
        UserError: If the config has no such split.
        DataError: If its files contradict each other, so that no sample can be listed.
    """
    if not (cfg.get(f'{name}_dataloader') or {}).get('dataset'):
        raise UserError(
            f'{cfg.filename}: there is no {name} data set to check; there are: {", ".join(find_splits(cfg))}.'
        )
    parts = _leaves(build_dataset(cfg, f'{name}_dataloader'))
    if name == 'train':
        _read_plainly(parts, cfg)
    everything = [(part, index) for part, dataset in enumerate(parts) for index in range(len(dataset))]
    chosen = [everything[k] for k in spread(len(everything), limit or len(everything))]
    meta = getattr(parts[0], 'metainfo', {})
    report = SplitReport(
        name,
        len(everything),
        targets=getattr(parts[0], 'TARGETS', 'targets'),
        classes=tuple(meta.get('classes') or ()),
    )
    reasons = [part.nothing_to_learn() for part in parts if hasattr(part, 'nothing_to_learn')]
    report.nothing = reasons[0] if reasons and all(reasons) else ''
    examined = _Examined(parts, chosen, (cfg.get('randomness') or {}).get('seed') or 0)
    loader = DataLoader(examined, batch_size=None, num_workers=num_workers)
    places = []
    for position, found in tqdm(loader, desc=name, unit='sample', disable=None, leave=False):
        if isinstance(found, str):
            report.broken.append(found)
        else:
            report.facts.append(found)
            places.append(chosen[position])
    odd = find_odd(report.facts, _NUM_ODD)
    report.odd = [(report.facts[sample.place].name, sample) for sample in odd]
    report.sheet = _draw(cfg, parts, [places[sample.place] for sample in odd], report, folder)
    return report


def _leaves(dataset: Any) -> list[Any]:
    """Return the data sets inside of wrappers (repeat, concatenation, subset)."""
    inner = getattr(dataset, 'datasets', None)
    if inner is None and hasattr(dataset, 'dataset') and not hasattr(dataset, 'draw'):
        inner = [dataset.dataset]
    return [dataset] if inner is None else [leaf for part in inner for leaf in _leaves(part)]


def _read_plainly(parts: Sequence[Any], cfg: Config) -> None:
    others = _leaves(build_dataset(cfg, 'val_dataloader')) if cfg.get('val_dataloader') else []
    for part in parts:
        plain = next((other for other in others if type(other) is type(part)), None)
        if plain is not None and isinstance(part, SeededDataset):
            part.pipeline = plain.pipeline


def _draw(
    cfg: Config, parts: Sequence[Any], places: Sequence[tuple[int, int]], report: SplitReport, folder: Path
) -> Path | None:
    pictures = []
    for (part, index), (name, odd) in zip(places, report.odd, strict=True):
        painter = find_painter(parts[part], cfg)
        if painter is None:
            return None
        packed = parts[part][SampleIndex(index, 0, 0)]
        picture = painter.draw(index, packed['data_samples'], packed['inputs'])
        pictures.append(_with_title(picture, f'{Path(name).name}: {"; ".join(odd.reasons[:2])}'))
    if not pictures:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return write_picture(folder / f'{report.name}_odd.jpg', contact_sheet(pictures))


def _with_title(picture: np.ndarray, text: str) -> np.ndarray:
    import cv2

    scale = _SHEET_WIDTH / picture.shape[1]
    small = cv2.resize(
        picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    titled = np.pad(small, ((34, 0), (0, 0), (0, 0)), constant_values=24)
    write_text(titled, text, 8, 6, size=18)
    return titled
