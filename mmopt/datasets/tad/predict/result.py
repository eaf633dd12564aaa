"""The behaviors found in one recording.

Shape letters: N events; a row of five is start, stop, agent, target, action.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmopt.datasets.common.cut_source import RecordingResult
from mmopt.datasets.tad.layout import Video
from mmopt.ops.merge_events import resolve_overlaps
from mmopt.structures.mice import mouse_name, target_name
from mmopt.utils.timeline import draw_timeline

__all__ = ['BehaviorResult', 'Bout', 'Total']


@dataclass(frozen=True)
class Bout:
    """One bout of a behavior: an animal does one thing at a time to each other.

    Attributes:
        start: First frame.
        stop: Frame after the last.
        score: Of the best event in it.
    """

    agent: str
    target: str
    behavior: str
    start: int
    stop: int
    score: float


@dataclass(frozen=True)
class Total:
    """What a behavior adds up to.

    Attributes:
        num_bouts: Their number.
        total_s: Their time in all.
        mean_s: The mean of a bout; None without one.
        latency_s: From the begin of the recording to the first bout; None without one.
    """

    agent: str
    target: str
    behavior: str
    num_bouts: int
    total_s: float
    mean_s: float | None
    latency_s: float | None


class BehaviorResult(RecordingResult):
    """Events of one recording, by their start; frames are those of the file.

    Args:
        rows_N5: Events.
        scores_N: Their scores.
        classes: Names of the actions.
        video: What is known of the recording; its ``labeled`` is what was looked for.
        num_frames: Frames of the recording.
        individuals: Names of the animals; empty: mouse1, mouse2, ...
        threshold: Events of less count in no bout.
    """

    task = 'temporal action detection'

    def __init__(
        self,
        rows_N5: np.ndarray,
        scores_N: np.ndarray,
        classes: Sequence[str],
        *,
        video: Video,
        num_frames: int,
        individuals: Sequence[str],
        threshold: float,
    ) -> None:
        super().__init__(classes, num_frames, video.fps, video.video_id)
        self.rows_N5 = rows_N5
        self.scores = scores_N
        self.video = video
        self.individuals = tuple(individuals)
        self.threshold = threshold

    @property
    def segments(self) -> np.ndarray:
        """Start and stop of every event, int64 (N, 2); the stop is excluded."""
        return self.rows_N5[:, :2]

    @property
    def labels(self) -> np.ndarray:
        """Action of every event, int64 (N,)."""
        return self.rows_N5[:, 4]

    @property
    def names(self) -> list[str]:
        """Name of the action of every event."""
        return [self.classes[label] for label in self.labels.tolist()]

    def above(self, confidence: float) -> 'BehaviorResult':
        """Return the events of at least this score; all of them count in bouts."""
        keep_N = self.scores >= confidence
        return BehaviorResult(
            self.rows_N5[keep_N], self.scores[keep_N], self.classes, video=self.video, num_frames=self.num_frames,
            individuals=self.individuals, threshold=confidence,
        )  # fmt: skip

    def confident_rows(self) -> np.ndarray:
        """Return what counts, int64 (N, 5): no two events of a pair overlap, and each frame is the best one's."""
        good_N = self.scores >= self.threshold
        return resolve_overlaps(self.rows_N5[good_N], self.scores[good_N])

    def name_pair(self, agent: int, target: int) -> tuple[str, str]:
        """Return the names of agent and target, ``self`` and ``all`` among them."""

        def name(number: int) -> str:
            return self.individuals[number] if 0 <= number < len(self.individuals) else mouse_name(number)

        return name(agent), name(target) if agent != target or target < 0 else target_name(agent, target)

    def bouts(self) -> list[Bout]:
        """Return the bouts, by their start."""
        found = []
        for row in sorted(self.confident_rows().tolist()):
            start, stop, agent, target, action = row
            same_N = (self.rows_N5[:, 2:] == row[2:]).all(1)
            inside_N = same_N & (self.rows_N5[:, 0] < stop) & (self.rows_N5[:, 1] > start)
            pair = self.name_pair(agent, target)
            found.append(Bout(*pair, self.classes[action], start, stop, float(self.scores[inside_N].max())))
        return found

    def totals(self) -> list[Total]:
        """Return what every behavior that was looked for adds up to, those without a bout included."""
        bouts: dict[tuple[str, str, str], list[Bout]] = {
            (*self.name_pair(agent, target), action): [] for agent, target, action in self.video.labeled
        }
        for bout in self.bouts():
            bouts.setdefault((bout.agent, bout.target, bout.behavior), []).append(bout)
        totals = []
        for key, ones in bouts.items():
            total_s = sum(bout.stop - bout.start for bout in ones) / self.fps
            mean_s = total_s / len(ones) if ones else None
            totals.append(Total(*key, len(ones), total_s, mean_s, ones[0].start / self.fps if ones else None))
        return totals

    def to_json(self) -> dict[str, Any]:
        """Return the recording's facts, what was looked for, and segments, scores, labels, names, agents, targets."""
        return dict(
            video=self.video.video_id,
            laboratory=self.video.lab_id,
            fps=self.fps,
            num_frames=self.num_frames,
            individuals=list(self.individuals),
            threshold=self.threshold,
            looked_for=[[agent, target, action] for agent, target, action in self.video.labeled],
            segments=self.segments.tolist(),
            scores=self.scores.tolist(),
            labels=self.labels.tolist(),
            names=self.names,
            agents=self.rows_N5[:, 2].tolist(),
            targets=self.rows_N5[:, 3].tolist(),
        )

    @classmethod
    def of_json(cls, found: Mapping[str, Any], classes: Sequence[str]) -> 'BehaviorResult':
        """Take back what :meth:`to_json` gave, except for the scale of the tracks."""
        columns = [np.array(found['segments'], dtype=np.int64).reshape(-1, 2)]
        columns += [np.array(found[key], dtype=np.int64)[:, None] for key in ('agents', 'targets', 'labels')]
        labeled = tuple((agent, target, action) for agent, target, action in found['looked_for'])
        unknown = float('nan')
        video = Video(
            found['laboratory'], found['video'], found['fps'], unknown, (unknown, unknown), unknown, (), labeled
        )
        return cls(
            np.concatenate(columns, axis=1), np.array(found['scores'], dtype=np.float64), classes, video=video,
            num_frames=found['num_frames'], individuals=found['individuals'], threshold=found['threshold'],
        )  # fmt: skip

    def draw(self) -> np.ndarray:
        """Draw the ethogram: a row for each animal and pair that did something."""
        rows = self.confident_rows()
        return draw_timeline(None, rows, (0, self.num_frames), self.classes, self.fps, self.title, self.individuals)
