"""Made-up annotated sessions in files as programs write them, with behaviors that the tracks show.

========= ======== ================================================== =====================
session   animals  behaviors, in frames                               files
========= ======== ================================================== =====================
``mice``  2        attack, chase, rear, sniff: a quarter of the time  DeepLabCut, Caltech
``fish``  1        freeze, circle, dart: half of it                   DeepLabCut, BORIS
``flies`` 3        huddle, chain, groom, walk: all of it              SLEAP, frame by frame
========= ======== ================================================== =====================

Shape letters: T frames, M animals, P body parts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmopt.datasets.tad.demo.world import BODY, DemoLab, lose_points, simulate

__all__ = ['SESSIONS', 'MadeSession', 'make_session']


@dataclass(frozen=True)
class MadeSession:
    """Files of one session and what belongs to them.

    Attributes:
        fps: Frames per second.
        pixels_per_cm: Scale.
        num_intervals: By behavior.
    """

    pose: Path
    annotation: Path
    fps: float
    pixels_per_cm: float
    num_intervals: dict[str, int]


def _write_deeplabcut(path: Path, pixels_TMP2: np.ndarray, parts: Sequence[str]) -> None:
    num_mice = pixels_TMP2.shape[1]
    columns = [(f'animal{m + 1}', part, name) for m in range(num_mice) for part in parts for name in 'xyl']
    header = [['scorer', *['net'] * len(columns)]]
    if num_mice > 1:
        header.append(['individuals', *(animal for animal, _, _ in columns)])
    header.append(['bodyparts', *(part for _, part, _ in columns)])
    header.append(['coords', *(dict(x='x', y='y', l='likelihood')[name] for *_, name in columns)])
    seen = np.isfinite(pixels_TMP2).all(-1, keepdims=True)
    values = np.concatenate((pixels_TMP2, np.where(seen, 0.99, np.nan)), axis=-1).reshape(len(pixels_TMP2), -1)
    rows = [','.join([str(t), *('' if v != v else f'{v:.2f}' for v in row)]) for t, row in enumerate(values)]
    path.write_text('\n'.join([*map(','.join, header), *rows]) + '\n', encoding='utf-8')


def _write_sleap(path: Path, pixels_TMP2: np.ndarray, parts: Sequence[str]) -> None:
    lines = [
        ','.join(['track', 'frame_idx', 'instance.score', *(f'{p}.{c}' for p in parts for c in ('x', 'y', 'score'))])
    ]
    for t, animals in enumerate(pixels_TMP2):
        for m, points in enumerate(animals):
            if np.isfinite(points).any():
                cells = [f'{x:.2f},{y:.2f},0.9' if x == x else ',,' for x, y in points]
                lines.append(f'track_{m},{t},0.9,{",".join(cells)}')
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')


Events = list[tuple[int, int, str]]


def _mice(num_frames: int, rng: np.random.Generator) -> tuple[DemoLab, np.ndarray, Events]:
    lab = DemoLab('made', 30.0, 12.0, (50.0, 40.0), tuple(BODY), (2,))
    position, events = simulate(lab, 2, num_frames, rng)
    return lab, position, [(start, stop, name) for start, stop, _, _, name in events]


def _walk(
    lab: DemoLab, plan: Events, num_frames: int, pace: Callable[[str], tuple[float, float]], rng: np.random.Generator
) -> np.ndarray:
    """Move one animal: a behavior has a speed (cm/s) and a rate of turning (rad/s); returns (T, P, 2) in cm."""
    of_frame = np.full(num_frames, '', dtype=object)
    for start, stop, name in plan:
        of_frame[start:stop] = name
    half = np.array(lab.arena_cm) / 2 - 2
    place, heading, speed = rng.uniform(-half, half), rng.uniform(-np.pi, np.pi), 0.0
    offsets = np.array([(2.0, 0.0), (-2.0, 0.0)])[: len(lab.body_parts)]
    out = np.zeros((num_frames, len(offsets), 2))
    for t in range(num_frames):
        goal, turn = pace(str(of_frame[t]))
        speed += (goal - speed) * min(1.0, 10 / lab.fps)
        heading += turn / lab.fps + rng.normal(0, 0.8) / np.sqrt(lab.fps)
        place = place + speed / lab.fps * np.array([np.cos(heading), np.sin(heading)])
        if (np.abs(place) > half).any():
            place = np.clip(place, -half, half)
            heading = np.arctan2(*(-place)[::-1]) + rng.normal(0, 0.5)
        cos, sin = np.cos(heading), np.sin(heading)
        out[t] = place + offsets @ np.array([[cos, sin], [-sin, cos]])
    return out


def _plan(num_frames: int, lengths: dict[str, tuple[float, float]], fps: float, rng: np.random.Generator) -> Events:
    """Draw behaviors one after the other; the one called '' is no behavior."""
    events, start = [], 0
    names, before = list(lengths), ''
    while start < num_frames:
        name = str(rng.choice([name for name in names if name != before]))
        stop = min(start + max(2, round(rng.uniform(*lengths[name]) * fps)), num_frames)
        if name:
            events.append((start, stop, name))
        start, before = stop, name
    return events


def _fish(num_frames: int, rng: np.random.Generator) -> tuple[DemoLab, np.ndarray, Events]:
    lab = DemoLab('made', 60.0, 20.0, (40.0, 30.0), ('head', 'tail'), (1,))
    lengths = dict(freeze=(1.0, 4.0), circle=(1.5, 4.0), dart=(0.4, 1.2)) | {'': (1.0, 4.0)}
    plan = _plan(num_frames, lengths, lab.fps, rng)
    pace = dict(freeze=(0.0, 0.0), circle=(8.0, 3.5), dart=(45.0, 0.0)).get
    position = _walk(lab, plan, num_frames, lambda name: pace(name, (8.0, 0.0)), rng)
    return lab, position[:, None] + rng.normal(0, 0.05, (num_frames, 1, 2, 2)), plan


def _flies(num_frames: int, rng: np.random.Generator) -> tuple[DemoLab, np.ndarray, Events]:
    lab = DemoLab('made', 12.0, 30.0, (30.0, 30.0), ('head', 'abdomen'), (3,))
    lengths = dict(huddle=(4.0, 15.0), chain=(3.0, 10.0), groom=(3.0, 10.0), walk=(4.0, 12.0))
    plan = _plan(num_frames, lengths, lab.fps, rng)
    pace = dict(huddle=(1.0, 0.0), chain=(9.0, 0.0), groom=(0.0, 0.0), walk=(6.0, 0.0))
    position = np.stack([_walk(lab, plan, num_frames, lambda name: pace[name], rng) for _ in range(3)], axis=1)
    # In a chain one follows the other, in a huddle they sit together; both within half a second.
    near = np.zeros((num_frames, 2))
    for start, stop, name in plan:
        near[start:stop, 0], near[start:stop, 1] = name == 'chain', name == 'huddle'
    ramp = np.ones(round(0.5 * lab.fps)) / round(0.5 * lab.fps)
    chain, huddle = (np.convolve(column, ramp, mode='same')[:, None, None] for column in near.T)
    for m in (1, 2):
        lag = round(0.4 * m * lab.fps)
        behind = np.concatenate((position[:1, 0].repeat(lag, 0), position[:-lag, 0]))
        beside = position[:, 0] + 1.5 * np.array([np.cos(2.1 * m), np.sin(2.1 * m)])
        position[:, m] = (1 - chain - huddle) * position[:, m] + chain * behind + huddle * beside
    return lab, position + rng.normal(0, 0.03, position.shape), plan


SESSIONS: dict[str, Callable] = dict(mice=_mice, fish=_fish, flies=_flies)


def make_session(kind: str, out: Path, num_frames: int = 9000, seed: int = 0) -> MadeSession:
    """Write one session.

    Args:
        kind: One of :data:`SESSIONS`.
        out: Folder for its two files.
        num_frames: Its length.
        seed: The same seed gives the same files.

    Returns:
        What was written.
    """
    rng = np.random.default_rng((seed, *kind.encode()))
    lab, position_TMP2, events = SESSIONS[kind](num_frames, rng)
    center_px = np.array(lab.arena_cm) * lab.pixels_per_cm / 2
    pixels_TMP2 = lose_points(position_TMP2, lab.fps, rng) * lab.pixels_per_cm + center_px
    out.mkdir(parents=True, exist_ok=True)
    pose, annotation = out / 'pose.csv', out / ('intervals.txt' if kind == 'mice' else 'labels.csv')
    (_write_sleap if kind == 'flies' else _write_deeplabcut)(pose, pixels_TMP2, lab.body_parts)
    names = sorted({name for *_, name in events})
    if kind == 'mice':
        lines = ['Caltech Behavior Annotator - Annotation File', '', 'Configuration file:']
        lines += [f'{name}\t{name[0]}' for name in names] + ['', 'S1:\tstart\tend\ttype', '-' * 20]
        lines += [f'\t{start + 1}\t{stop}\t{name}' for start, stop, name in events]
    elif kind == 'fish':
        lines = ['Observation id,Subject,FPS,Behavior,Behavior type,Start (s),Stop (s)']
        lines += [f'o,fish,{lab.fps},{n},STATE,{a / lab.fps:.3f},{b / lab.fps:.3f}' for a, b, n in events]
    else:
        label_T = np.full(num_frames, '', dtype=object)
        for start, stop, name in events:
            label_T[start:stop] = name
        lines = ['frame,behavior', *(f'{t},{name}' for t, name in enumerate(label_T))]
    annotation.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    counted = {name: sum(event[2] == name for event in events) for name in names}
    return MadeSession(pose, annotation, lab.fps, lab.pixels_per_cm, counted)
