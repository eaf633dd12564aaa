"""The mice of the demo: how they move, and which behaviors they show.

======= =====================================================================================
attack  the agent closes in at speed, then both jerk about in contact
chase   the target flees at 30-40 cm/s, the agent keeps right behind it
rear    the agent stands up: seen from above its body shrinks to half its length and stays in place
sniff   the agent walks up and keeps its nose at the target's tail base
======= =====================================================================================

Between events the mice wander, rest and meet by chance. Units are cm, s and rad; the arena's center is the origin.

Shape letters: T frames, M mice, P body parts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ['ACTIONS', 'BODY', 'DemoLab', 'lose_points', 'simulate']

ACTIONS = ('attack', 'chase', 'rear', 'sniff')
# Where a part sits on the body: cm ahead of the center, cm to the left.
BODY = dict(
    nose=(4.5, 0.0),
    ear_left=(2.8, 1.0),
    ear_right=(2.8, -1.0),
    neck=(2.0, 0.0),
    body_center=(0.0, 0.0),
    hip_left=(-2.0, 1.2),
    hip_right=(-2.0, -1.2),
    tail_base=(-3.8, 0.0),
)


@dataclass(frozen=True)
class DemoLab:
    """What makes one laboratory's data its own.

    Attributes:
        name: Its id.
        fps: Frames per second.
        arena_cm: Width and height.
        body_parts: Parts tracked.
        num_mice: Mice in its cages, by turns.
        blind: Behaviors that its annotators did not look for: they happen and are not written down.
    """

    name: str
    fps: float
    pixels_per_cm: float
    arena_cm: tuple[float, float]
    body_parts: tuple[str, ...]
    num_mice: tuple[int, ...]
    blind: tuple[str, ...] = ()


class _World:
    """Mice in an arena, moved frame by frame."""

    def __init__(self, lab: DemoLab, num_mice: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.dt = 1 / lab.fps
        self.half = np.array(lab.arena_cm) / 2 - 3.0
        self.place = rng.uniform(-self.half, self.half, (num_mice, 2))
        self.heading = rng.uniform(-np.pi, np.pi, num_mice)
        self.speed = np.full(num_mice, 5.0)
        self.stretch = np.ones(num_mice)
        self.goal_speed = np.full(num_mice, 5.0)

    def nose(self, mouse: int) -> np.ndarray:
        return self.place[mouse] + BODY['nose'][0] * self._ahead(mouse)

    def tail(self, mouse: int) -> np.ndarray:
        return self.place[mouse] + BODY['tail_base'][0] * self._ahead(mouse)

    def _ahead(self, mouse: int) -> np.ndarray:
        return np.array([np.cos(self.heading[mouse]), np.sin(self.heading[mouse])])

    def wander(self, mouse: int, top_speed: float = 12.0) -> None:
        if self.rng.random() < 0.7 * self.dt:  # a new pace every 1.4 s
            self.goal_speed[mouse] = self.rng.choice([0.0, 3.0, 7.0, top_speed])
        self.heading[mouse] += self.rng.normal(0, 0.7) * np.sqrt(self.dt)
        self._walk(mouse, min(self.goal_speed[mouse], top_speed))

    def steer(self, mouse: int, to: np.ndarray, speed: float, turn: float = 8.0) -> None:
        # From the body's center: seen from the nose, a place that it touches would be now ahead, now behind.
        offset = to - self.place[mouse]
        error = (np.arctan2(offset[1], offset[0]) - self.heading[mouse] + np.pi) % (2 * np.pi) - np.pi
        self.heading[mouse] += np.clip(error, -turn * self.dt, turn * self.dt)
        distance = max(np.hypot(*offset) - BODY['nose'][0], 0.0)
        self._walk(mouse, min(speed, 6.0 * distance))

    def flee(self, mouse: int, speed: float) -> None:
        if np.any(np.abs(self.place[mouse]) > self.half - 4.0):  # along the wall, not into it
            self.steer(mouse, -0.3 * self.place[mouse], speed)
        else:
            self.heading[mouse] += self.rng.normal(0, 1.2) * np.sqrt(self.dt)
            self._walk(mouse, speed)

    def jerk(self, mouse: int, around: np.ndarray) -> None:
        self.heading[mouse] += self.rng.normal(0, 4.0) * np.sqrt(self.dt)
        pull = 6.0 * (around - self.place[mouse])
        self.place[mouse] += self.dt * (pull + self.rng.normal(0, 45.0, 2))
        self.speed[mouse] = 10.0
        self._keep_inside(mouse)

    def stand(self, mouse: int) -> None:
        self._walk(mouse, 0.0)

    def _walk(self, mouse: int, speed: float) -> None:
        self.speed[mouse] += (speed - self.speed[mouse]) * min(1.0, 8.0 * self.dt)
        self.place[mouse] += self.speed[mouse] * self.dt * self._ahead(mouse)
        self._keep_inside(mouse)

    def _keep_inside(self, mouse: int) -> None:
        inside = np.clip(self.place[mouse], -self.half, self.half)
        if np.any(inside != self.place[mouse]):
            self.place[mouse] = inside
            self.heading[mouse] += 3.0 * self.dt * np.sign(self.rng.normal())
            if self.rng.random() < 2.0 * self.dt:
                self.heading[mouse] = np.arctan2(*(-inside)[::-1])

    def parts(self, names: tuple[str, ...]) -> np.ndarray:
        offset_P2 = np.array([BODY[name] for name in names])
        cos, sin = np.cos(self.heading)[:, None], np.sin(self.heading)[:, None]
        along = offset_P2[:, 0] * self.stretch[:, None]
        x = self.place[:, :1] + cos * along - sin * offset_P2[:, 1]
        y = self.place[:, 1:] + sin * along + cos * offset_P2[:, 1]
        return np.stack((x, y), axis=-1)


def _act(world: _World, action: str, agent: int, target: int) -> Iterator[bool]:
    """Move agent and target through one event, a frame per step; yields whether the frame belongs to the event."""
    rng, dt = world.rng, world.dt
    if action in ('attack', 'sniff'):
        speed = 28.0 if action == 'attack' else 14.0
        for _ in range(round(3.0 / dt)):
            if np.hypot(*(world.tail(target) - world.nose(agent))) < 2.0:
                break
            world.steer(agent, world.tail(target), speed)
            world.wander(target, 3.0)
            yield False
    seconds = dict(attack=(0.6, 2.5), chase=(1.0, 4.0), rear=(0.6, 2.5), sniff=(0.8, 4.0))[action]
    length = round(rng.uniform(*seconds) / dt)
    pace = rng.uniform(30.0, 40.0)
    for frame in range(length):
        if action == 'attack':
            middle = (world.place[agent] + world.place[target]) / 2
            world.jerk(agent, middle)
            world.jerk(target, middle)
        elif action == 'chase':
            world.flee(target, pace)
            world.steer(agent, world.tail(target), pace * 1.15, turn=12.0)
        elif action == 'sniff':
            world.steer(agent, world.tail(target), 10.0)
            world.wander(target, 2.0)
        else:
            world.stand(agent)
            # Up and down within 0.2 s.
            rise = min(frame, length - 1 - frame) * dt / 0.2
            world.stretch[agent] = 1 - 0.5 * min(rise, 1.0)
        yield True
    world.stretch[agent] = 1.0


def simulate(lab: DemoLab, num_mice: int, num_frames: int, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple]]:
    """Simulate one video.

    Args:
        num_mice: Mice in the arena.
        rng: All randomness comes from it.

    Returns:
        Positions (T, M, P, 2) in cm from the arena's center, and the events: start, stop, agent, target, action.
    """
    world = _World(lab, num_mice, rng)
    position = np.zeros((num_frames, num_mice, len(lab.body_parts), 2), dtype=np.float32)
    events: list[tuple] = []
    running: Iterator[bool] | None = None
    cast: tuple = ()
    wait, began = round(rng.uniform(0.5, 2.5) * lab.fps), None
    for frame in range(num_frames):
        if running is None and wait <= 0:
            action = str(rng.choice(ACTIONS))
            agent, target = (int(mouse) for mouse in rng.permutation(num_mice)[:2])
            if action == 'rear':
                target = agent
            cast = (agent, target, action)
            running = _act(world, action, agent, target)
        belongs = next(running, None) if running is not None else False
        if began is not None and not belongs:
            events.append((began, frame, *cast))
        began = (frame if began is None else began) if belongs else None
        if belongs is None:
            running, wait = None, round(rng.uniform(0.5, 3.0) * lab.fps)
        wait -= 1
        busy = cast[:2] if running is not None else ()
        for mouse in range(num_mice):
            if mouse not in busy:
                world.wander(mouse)
        position[frame] = world.parts(lab.body_parts)
    if began is not None:
        events.append((began, num_frames, *cast))
    return position + rng.normal(0, 0.06, position.shape).astype(np.float32), events


def lose_points(position: np.ndarray, fps: float, rng: np.random.Generator) -> np.ndarray:
    """Take points away: often for a few frames, seldom for more than a second."""
    lost = position.copy()
    num_frames, num_mice, num_parts, _ = position.shape
    for _ in range(num_frames * num_mice * num_parts // 400):
        length = int(rng.geometric(0.25)) if rng.random() < 0.95 else int(rng.uniform(1.0, 2.0) * fps)
        start = int(rng.integers(num_frames))
        lost[start : start + length, rng.integers(num_mice), rng.integers(num_parts)] = np.nan
    return lost
