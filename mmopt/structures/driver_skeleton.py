"""The 52 keypoints of a driver: head, shoulders, elbows, both hands, neck.

Whole-body models such as MHR-70 give 70 points; without hips, legs, feet and the spare points of the elbows and
shoulders 52 are left.
"""

__all__ = ['DRIVER_EDGES', 'DRIVER_KEYPOINTS']

_FINGERS = ('thumb', 'index', 'middle', 'ring', 'pinky')
_JOINTS = ('4', '3', '2', '1')  # from the tip to the palm


def _hand(side: str) -> tuple[str, ...]:
    return (*(f'{side}_{finger}_{joint}' for finger in _FINGERS for joint in _JOINTS), f'{side}_wrist')


DRIVER_KEYPOINTS = (
    'nose',
    'left_eye',
    'right_eye',
    'left_ear',
    'right_ear',
    'left_shoulder',
    'right_shoulder',
    'left_elbow',
    'right_elbow',
    *_hand('right'),
    *_hand('left'),
    'neck',
)
"""Names in the order of the arrays."""


def _edges() -> tuple[tuple[int, int], ...]:
    pairs = [('nose', 'neck')]
    for side in ('left', 'right'):
        pairs += [(f'{side}_eye', 'nose'), (f'{side}_ear', f'{side}_eye'), (f'{side}_shoulder', 'neck')]
        pairs += [(f'{side}_elbow', f'{side}_shoulder'), (f'{side}_wrist', f'{side}_elbow')]
        for finger in _FINGERS:
            chain = [f'{side}_{finger}_{joint}' for joint in _JOINTS] + [f'{side}_wrist']
            pairs += list(zip(chain, chain[1:], strict=False))
    number = {name: index for index, name in enumerate(DRIVER_KEYPOINTS)}
    return tuple((number[outer], number[inner]) for outer, inner in pairs)


DRIVER_EDGES = _edges()
"""Pairs (outer, inner): the second is nearer to the neck."""
