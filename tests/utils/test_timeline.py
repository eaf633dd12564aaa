import numpy as np

from mmopt.utils.timeline import draw_timeline


def painted(lane: np.ndarray) -> list[bool]:
    """Tell, tenth by tenth of the time axis, whether an event is drawn."""
    is_gray = (np.ptp(lane[5, 170:1370].astype(int), axis=-1) == 0).reshape(10, 120)
    return (~is_gray.all(axis=1)).tolist()


def test_truth_stands_above_the_prediction_pair_by_pair():
    attack, rear = (0, 1, 0), (1, 1, 1)
    truth = np.array([(0, 100, *attack), (500, 600, *rear)])
    predicted = np.array([(200, 300, *attack), (900, 1000, *rear)])
    picture = draw_timeline(truth, predicted, (0, 1000), ('attack', 'rear'), 30.0, 'a video')
    # Two pairs of two lanes of 16 pixels, 8 between the pairs, below a title of 34.
    lanes = [painted(picture[top : top + 16]) for top in (34, 50, 74, 90)]
    assert [lane.index(True) for lane in lanes] == [0, 2, 5, 9]
    assert [sum(lane) for lane in lanes] == [1, 1, 1, 1]


def test_a_window_of_a_video_shows_its_part_alone():
    events = np.array([(0, 1500, 0, 1, 0)])
    picture = draw_timeline(events, None, (1000, 2000), ('attack',), 25.0)
    assert [*painted(picture[34:50])] == [True] * 5 + [False] * 5


def test_ticks_stand_at_round_times_and_a_prediction_alone_has_one_row():
    events = np.array([(0, 100, 0, 0, 0)])
    picture = draw_timeline(None, events, (0, 2437), ('rear',), 30.0, names=['rat'])
    # One row of 16 pixels below the title of 34; ticks of 5 pixels below it, at 0 s, 10 s, ... 80 s of 81.2 s.
    ticks = np.flatnonzero((picture[50:55] == 30).all(axis=(0, 2)))
    assert [round((column - 170) / 1200 * 2437 / 30) for column in ticks] == list(range(0, 90, 10))
    assert picture.shape[0] < draw_timeline(events, events, (0, 2437), ('rear',), 30.0).shape[0]
