import pytest

from mmopt.utils.time_axis import clock, round_ticks


@pytest.mark.parametrize(
    ('start_s', 'stop_s', 'ticks'),
    [
        (0, 81.2, [0, 10, 20, 30, 40, 50, 60, 70, 80]),
        (33.3, 66.7, [35, 40, 45, 50, 55, 60, 65]),
        (0, 0.73, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        (0, 4.3, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]),
        (0, 600, [0, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600]),
        (0, 7200, [0, 900, 1800, 2700, 3600, 4500, 5400, 6300, 7200]),
        (0, 100 * 3600, [number * 36000 for number in range(11)]),
        (5, 5, []),
    ],
)
def test_ticks_are_round_and_few(start_s, stop_s, ticks):
    assert round_ticks(start_s, stop_s) == pytest.approx(ticks)


def test_a_tick_for_every_length_is_a_multiple_of_its_step():
    for tenths in range(1, 100_000, 37):
        ticks = round_ticks(0, tenths / 10)
        assert 2 <= len(ticks) <= 11
        step = ticks[1]
        assert ticks == pytest.approx([step * number for number in range(len(ticks))])
        assert tenths / 10 - ticks[-1] < step


def test_times_of_an_axis_look_alike():
    assert [clock(value, 81) for value in (0, 2.5, 80)] == ['0 s', '2.5 s', '80 s']
    assert [clock(value, 600) for value in (0, 90, 600)] == ['0:00', '1:30', '10:00']
    assert [clock(value, 7200) for value in (60, 3723)] == ['0:01:00', '1:02:03']
