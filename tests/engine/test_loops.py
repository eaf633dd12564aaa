import pytest

from mmopt.engine.loops import should_evaluate


def points(last: int, *args, **kwargs) -> list[int]:
    return [done for done in range(1, last + 1) if should_evaluate(done, *args, **kwargs)]


def test_the_interval_counts_from_zero():
    assert points(10, 3) == [3, 6, 9]


def test_a_start_shifts_the_interval():
    assert points(12, 3, start=5) == [5, 8, 11]


def test_dynamic_intervals_are_those_of_mmcv():
    # The case of the specification: mmcv 1.x evaluates at 5, 10, 15, 20 and 23.
    assert points(23, 5, dynamic_intervals=[(21, 23)]) == [5, 10, 15, 20, 23]


@pytest.mark.parametrize(('milestones', 'expected'), [([(4, 2)], [3, 4, 6, 8]), ([(4, 2), (7, 1)], [3, 4, 6, 7, 8])])
def test_each_milestone_brings_its_interval(milestones, expected):
    assert points(8, 3, dynamic_intervals=milestones) == expected
