"""Where the time of a run went, the one thing to change first, and what that should bring.

Expected gains are bounds, not promises: a wait that vanishes, an interval that doubles. What a change of the
computation itself brings is for ``tools/benchmark.py`` to measure.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmopt.config.spelling import spelled
from mmopt.engine.hooks.time_split_hook import FILE_NAME
from mmopt.engine.logging.time_split import PARTS
from mmopt.utils.terminal import paint, seconds

__all__ = ['TIME_COLORS', 'TIME_TITLES', 'Advice', 'Bottleneck', 'plot_time', 'read_time']

TIME_TITLES = dict(
    compute='compute',
    data='data',
    copy='copy to the GPU',
    evaluation='evaluation',
    checkpoints='checkpoints',
    hooks='logging and hooks',
)
# Okabe-Ito: told apart by color-blind readers, too.
TIME_COLORS = dict(
    compute='#009E73', data='#D55E00', copy='#E69F00', evaluation='#0072B2', checkpoints='#CC79A7', hooks='#999999'
)
# Less than this of the run is not worth a change.
_MIN_GAIN = 0.03


@dataclass(frozen=True)
class Advice:
    """A change and what it should bring.

    Attributes:
        what: What to do, with the option.
        why: What was measured.
        gain: Largest share of the run's time that it can save.
    """

    what: str
    why: str
    gain: float

    def __str__(self) -> str:
        return f'{self.what}: {self.why}; expected gain: up to {self.gain:.0%} of the time, {1 / (1 - self.gain):.2f}x'


@dataclass(frozen=True)
class Bottleneck:
    """What a run spent its time on.

    Attributes:
        name: Name of the run.
        seconds: Seconds by part (:data:`mmopt.engine.logging.time_split.PARTS`).
        settings: What :class:`mmopt.engine.hooks.TimeSplitHook` noted of the run.
    """

    name: str
    seconds: Mapping[str, float]
    num_iters: int
    num_evaluations: int
    settings: Mapping[str, Any]

    @property
    def total_s(self) -> float:
        """Seconds of the whole."""
        return sum(self.seconds.values())

    def share(self, part: str) -> float:
        """Return a part's share of the time."""
        return self.seconds[part] / self.total_s if self.total_s else 0.0

    @property
    def advice(self) -> Advice | None:
        """The change with the largest expected gain; None if nothing is worth one."""
        best = max(_possible(self), key=lambda advice: advice.gain, default=None)
        return best if best is not None and best.gain >= _MIN_GAIN else None

    @property
    def split(self) -> str:
        """One line: the whole and the share of each part, the largest first."""
        parts = sorted((part for part in PARTS if self.share(part) >= 0.0005), key=self.share, reverse=True)
        return f'{seconds(self.total_s)}: ' + ', '.join(f'{TIME_TITLES[part]} {self.share(part):.1%}' for part in parts)

    @property
    def verdict(self) -> str:
        """One line: what to change first."""
        advice = self.advice
        if advice is not None:
            return str(advice)
        return (
            f'nothing around the computation costs {_MIN_GAIN:.0%}: only a faster step (tools/benchmark.py compares '
            f'settings) makes this run faster'
        )

    def __str__(self) -> str:
        return f'{paint(self.name, "bold")}  {self.split}\n  change first: {self.verdict}'


def _possible(run: Bottleneck) -> Iterator[Advice]:
    """Yield what could be changed, each with the largest share of time that it can save."""
    settings = run.settings
    name = _namer(settings)
    waited = f'waited {seconds(run.seconds["data"])} for data'
    if run.share('data') > 0:
        yield Advice(*_faster_data(settings, waited), run.share('data'))
    if run.share('copy') > 0:
        workers = f"{name('train_dataloader.num_workers')}='auto'"
        pinned = workers if settings.get('pin_memory') else f'{name("train_dataloader.pin_memory")}=True'
        why = f'the GPU waited {seconds(run.seconds["copy"])} for copies, which pinned memory and workers hide'
        yield Advice(f'--options {pinned}', why, run.share('copy'))
    if run.num_evaluations > 1:
        interval = settings.get('val_interval') or 1
        why = f'{run.num_evaluations} evaluations took {seconds(run.seconds["evaluation"])}; half as many'
        yield Advice(f'--options {name("train_cfg.val_interval")}={2 * interval}', why, run.share('evaluation') / 2)
    if run.share('checkpoints') > 0:
        why = f'the loop stood still for {seconds(run.seconds["checkpoints"])} while checkpoints were written'
        interval = 2 * max(settings.get('checkpoint_interval') or 1, 1)
        why += '; half as many'
        yield Advice(
            f'--options {name("default_hooks.checkpoint.interval")}={interval}', why, run.share('checkpoints') / 2
        )
    if settings.get('log_interval'):
        why = f'logging and hooks took {seconds(run.seconds["hooks"])}; half as many lines'
        lines = f'{name("default_hooks.logger.interval")}={2 * settings["log_interval"]}'
        yield Advice(f'--options {lines}', why, run.share('hooks') / 2)
    half = settings.get('native_half')
    if settings.get('device') == 'GPU' and settings.get('precision') in ('fp32', 'float32') and half:
        why = f'fp32 leaves the tensor cores idle; half the computing if, as is usual, {half} is twice as fast'
        yield Advice(f'--precision {half}', why, run.share('compute') / 2)


def _namer(settings: Mapping[str, Any]) -> Callable[[str], str]:
    """Return what names keys as the run's config does, which may be another than this process reads."""
    return partial(spelled, dialect=settings.get('dialect'))


def _faster_data(settings: Mapping[str, Any], waited: str) -> tuple[str, str]:
    """Return what lets samples come sooner, the cheapest first: idle cores, then a cache."""
    name = _namer(settings)
    more = f"--options {name('train_dataloader.num_workers')}='auto'"
    workers, cores = settings.get('num_workers') or 0, settings.get('num_cores') or 1
    if not workers and cores > 1:
        return more, f'the loop loads itself and {waited}'
    if not settings.get('cache') and settings.get('can_cache', True):
        have = f'{workers} workers on {cores} cores' if workers else 'one core'
        return f"--options {name('train_dataloader.cache')}='disk'", f'{have}, no cache, and the loop {waited}'
    if workers < cores - 1:
        return more, f'{workers} workers on {cores} cores, and the loop {waited}'
    return 'cheaper transforms (tools/doctor.py CONFIG times a sample)', f'all cores load and the loop still {waited}'


def read_time(path: str | Path) -> Bottleneck | None:
    """Read what a run noted; the parts of a resumed run are added up.

    Args:
        path: A work dir, one time stamp's folder, or the ``scalars.json`` in its ``vis_data``.

    Returns:
        Where its time went; None if it noted nothing.
    """
    path = Path(path)
    if path.is_file():
        files = [path.parent.parent / FILE_NAME]
    else:
        files = sorted(path.glob(f'*/{FILE_NAME}')) or [path / FILE_NAME]
    states = [json.loads(file.read_text(encoding='utf-8')) for file in files if file.is_file()]
    if not states:
        return None
    return Bottleneck(
        name=path.resolve().name if path.is_dir() else path.resolve().parents[1].name,
        seconds={part: sum(state['seconds'][part] for state in states) for part in PARTS},
        num_iters=sum(state['last_iter'] - state['first_iter'] for state in states),
        num_evaluations=sum(state['num_evaluations'] for state in states),
        settings=states[-1]['settings'],
    )


def plot_time(runs: Sequence[Bottleneck], path: str | Path) -> Path:
    """Draw one bar per run: the share of each part.

    Args:
        runs: At least one.
        path: The picture to write.

    Returns:
        The path.
    """
    # Not pyplot: it keeps figures alive and picks a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.9 + 0.55 * len(runs)), layout='constrained', facecolor='white')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, run in enumerate(runs):
        left = 0.0
        for part, title in TIME_TITLES.items():
            width = 100 * run.share(part)
            axes.barh(place, width, left=left, color=TIME_COLORS[part], label=title if not place else None, height=0.6)
            if width >= 4:
                axes.text(
                    left + width / 2, place, f'{width:.0f} %', ha='center', va='center', color='white', fontsize=9
                )
            left += width
    labels = [f'{run.name}\n{seconds(run.total_s)}' for run in runs]
    axes.set_yticks(range(len(runs)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_title('share of the time in the training loop [%]', fontsize=11, loc='left', fontweight='bold')
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.tick_params(labelsize=9, color='#999999')
    figure.legend(loc='outside lower center', ncols=len(TIME_TITLES), frameon=False, fontsize=9)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
