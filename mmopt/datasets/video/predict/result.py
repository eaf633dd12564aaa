"""The actions found in one recording.

Shape letters: N windows or segments, K classes, T frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmopt.datasets.common.cut_source import RecordingResult
from mmopt.datasets.video.predict.timeline import draw_actions

__all__ = ['ActionResult', 'Span']


@dataclass(frozen=True)
class Span:
    """Frames in which one action is the most probable.

    Attributes:
        start: First frame.
        stop: Frame after the last.
        score: Mean probability of the action.
    """

    start: int
    stop: int
    start_s: float
    stop_s: float
    label: int
    score: float


class ActionResult(RecordingResult):
    """A probability of every action for each window or segment; frames are those of the first view.

    Args:
        segments: int64 (N, 2): start and stop, excluded.
        times_s: float64 (N, 2): when these are shown.
        probabilities: float64 (N, K).
        classes: Names of the actions.
        num_frames: Frames of the recording.
        fps: Frames per second.
        title: Name of the recording.
    """

    task = 'driver action recognition'

    def __init__(
        self,
        segments: np.ndarray,
        times_s: np.ndarray,
        probabilities: np.ndarray,
        classes: Sequence[str],
        *,
        num_frames: int,
        fps: float,
        title: str,
    ) -> None:
        super().__init__(classes, num_frames, fps, title)
        self.segments = segments
        self.times_s = times_s
        self.probabilities = probabilities

    @property
    def labels(self) -> np.ndarray:
        """The most probable action of each window, int64 (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def scores(self) -> np.ndarray:
        """Its probability, float64 (N,)."""
        return self.probabilities.max(axis=1, initial=0.0)

    @property
    def names(self) -> list[str]:
        """Its name."""
        return [self.classes[label] for label in self.labels.tolist()]

    def above(self, confidence: float) -> 'ActionResult':
        """Return the windows whose action is at least so probable."""
        keep_N = self.scores >= confidence
        return ActionResult(
            self.segments[keep_N], self.times_s[keep_N], self.probabilities[keep_N], self.classes,
            num_frames=self.num_frames, fps=self.fps, title=self.title,
        )  # fmt: skip

    def frame_probabilities(self) -> np.ndarray:
        """Return the mean over the windows that show a frame, float64 (T, K); NaN where there is none."""
        change_TK = np.zeros((self.num_frames + 1, len(self.classes)))
        count_T = np.zeros(self.num_frames + 1)
        for (start, stop), probability_K in zip(self.segments.tolist(), self.probabilities, strict=True):
            change_TK[start] += probability_K
            change_TK[stop] -= probability_K
            count_T[start] += 1
            count_T[stop] -= 1
        seen_T = count_T.cumsum()[:-1]
        with np.errstate(invalid='ignore', divide='ignore'):
            return np.where(seen_T[:, None] > 0, change_TK.cumsum(axis=0)[:-1] / seen_T[:, None], np.nan)

    def spans(self) -> list[Span]:
        """Return runs of frames with one most probable action; frames that no window shows are in none."""
        probability_TK = self.frame_probabilities()
        seen_T = np.isfinite(probability_TK).all(axis=1)
        label_T = np.where(seen_T, np.nan_to_num(probability_TK).argmax(axis=1), -1)
        edges = np.flatnonzero(np.diff(label_T, prepend=-2, append=-2))
        at_s = dict(zip(self.segments.ravel().tolist(), self.times_s.ravel().tolist(), strict=True))
        spans = []
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if (label := int(label_T[start])) >= 0:
                score = float(probability_TK[start:stop, label].mean())
                # Actions change where windows begin or end, so their exact times are known.
                times = at_s.get(start, start / self.fps), at_s.get(stop, stop / self.fps)
                spans.append(Span(start, stop, *times, label, score))
        return spans

    def to_json(self) -> dict[str, Any]:
        """Return the recording's facts, and segments, times, labels, names, scores and probabilities as lists."""
        return dict(
            recording=self.title,
            fps=self.fps,
            num_frames=self.num_frames,
            segments=self.segments.tolist(),
            times_s=self.times_s.tolist(),
            labels=self.labels.tolist(),
            names=self.names,
            scores=self.scores.tolist(),
            probabilities=self.probabilities.tolist(),
        )

    @classmethod
    def of_json(cls, found: Mapping[str, Any], classes: Sequence[str]) -> 'ActionResult':
        """Take back what :meth:`to_json` gave."""
        return cls(
            np.array(found['segments'], dtype=np.int64).reshape(-1, 2),
            np.array(found['times_s'], dtype=np.float64).reshape(-1, 2),
            np.array(found['probabilities'], dtype=np.float64).reshape(-1, len(classes)),
            classes, num_frames=found['num_frames'], fps=found['fps'], title=found['recording'],
        )  # fmt: skip

    def draw(self) -> np.ndarray:
        """Draw the time line: the most probable action, and below it how probable each is."""
        spans = [(span.start, span.stop, span.label) for span in self.spans()]
        return draw_actions(spans, self.frame_probabilities(), self.classes, self.fps, self.title)
