import csv

import numpy as np
import pytest

from mmopt.datasets.tad.layout import read_videos
from mmopt.datasets.tad.prepare.caltech import read_caltech
from mmopt.datasets.tad.prepare.deeplabcut import read_deeplabcut
from mmopt.datasets.tad.prepare.session import Session, import_session
from mmopt.datasets.tad.tables import read_annotation, read_tracks
from mmopt.utils.errors import DataError, DataNotFoundError, UserError

ANNOTATION = (
    'Caltech Behavior Annotator - Annotation File\n\n'
    'Configuration file:\nbase\tz\nsocial\ts\n\n'
    'S1:\tstart\tend\ttype\n-----------------------------\n'
    '   \t1\t3\tbase\n'
    '   \t4\t9\tsocial\n  \n'
)
POSE = """scorer,net,net,net,net,net,net
individuals,a,a,a,b,b,b
bodyparts,top,top,top,top,top,top
coords,x,y,likelihood,x,y,likelihood
0,,,1.0,7,8,0.9
1,1,2,0.5,7,8,0.2
2,3,4,0.9,,,1.0
"""


@pytest.fixture
def write(tmp_path):
    def _write(name: str, text: str):
        path = tmp_path / name
        path.write_text(text)
        return path

    return _write


def test_tracks_by_hand(write):
    tracks = read_deeplabcut(write('pose.csv', POSE))
    assert tracks.individuals == ('a', 'b')
    assert tracks.body_parts == ('top',)
    np.testing.assert_array_equal(tracks.position_TMP2[:, 0, 0], [(np.nan, np.nan), (1, 2), (3, 4)])
    np.testing.assert_array_equal(tracks.position_TMP2[:, 1, 0], [(7, 8), (7, 8), (np.nan, np.nan)])


def test_unlikely_points_are_missing_on_demand(write):
    position = read_deeplabcut(write('pose.csv', POSE), min_likelihood=0.4).position_TMP2
    assert np.isnan(position[1, 1]).all()
    assert position[1, 0].tolist() == [[1, 2]]


def test_intervals_count_from_zero_and_exclude_their_stop(write):
    assert read_caltech(write('a.txt', ANNOTATION)).events == ((0, 3, 'base'), (3, 9, 'social'))


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('social\n', 'jump\n', r"a.txt:10: unknown behavior 'jump'; configured: \['base', 'social'\]"),
        ('4\t9', '0\t9', 'a.txt:10: start 0 and end 9 make no interval; frames count from 1'),
        ('4\t9\tsocial', '4\tsocial', 'a.txt:10: expected start, end and behavior'),
    ],
)
def test_a_broken_annotation_names_the_line(write, old, new, message):
    broken = ANNOTATION.replace(f'\t{old}', f'\t{new}')
    with pytest.raises(DataError, match=message):
        read_caltech(write('a.txt', broken))


def test_another_kind_of_file_is_refused(write):
    with pytest.raises(DataError, match='Is it a Caltech annotation'):
        read_caltech(write('a.txt', 'hello\n'))
    with pytest.raises(DataError, match='none of the first 4 rows names coordinates'):
        read_deeplabcut(write('a.csv', 'hello,world\n0,1\n'))
    with pytest.raises(DataNotFoundError, match='nowhere.csv is missing'):
        read_deeplabcut('nowhere.csv')


def test_a_broken_row_of_tracks_names_the_line(write):
    with pytest.raises(DataError, match=r'pose.csv:6: 3 values, the header has 7 columns'):
        read_deeplabcut(write('pose.csv', POSE.replace('1,1,2,0.5,7,8,0.2', '1,1,2')))
    with pytest.raises(DataError, match=r"pose.csv:5: could not convert string to float: 'x'"):
        read_deeplabcut(write('pose.csv', POSE.replace('0,,', '0,x,')))


def test_a_session_becomes_three_videos_that_share_no_frame(write, tmp_path):
    pose = 'scorer,n,n\nbodyparts,top,top\ncoords,x,y\n' + ''.join(f'{t},{t + 30},{t % 5 + 7}\n' for t in range(12))
    session = Session(write('p.csv', pose), write('a.txt', ANNOTATION), fps=25.0, pixels_per_cm=10.0)
    assert import_session(session, tmp_path / 'out').frames == dict(train=4, val=4, test=4)
    train, val, _ = read_videos(tmp_path / 'out' / 'train.csv')
    assert train.labeled == ((-1, -1, 'base'), (-1, -1, 'social'))
    assert (val.fps, val.size_px) == (25.0, (12.0, 5.0))
    folder = tmp_path / 'out' / 'train_annotation' / 'session'
    assert read_annotation(folder / 'session_train.parquet', ['base', 'social']).tolist() == [
        [0, 3, -1, -1, 0],
        [3, 4, -1, -1, 1],
    ]
    assert read_annotation(folder / 'session_test.parquet', ['base', 'social']).tolist() == [[0, 1, -1, -1, 1]]
    tracks = read_tracks(tmp_path / 'out' / 'train_tracking' / 'session' / 'session_val.parquet', ['top'])
    assert tracks[:, 0, 0].tolist() == [[4, 4], [5, 0], [6, 1], [7, 2]]  # counted from the corner of the tracked area
    splits = {path.stem: path.read_text().split() for path in (tmp_path / 'out' / 'splits').iterdir()}
    assert splits == {name: [f'session_{name}'] for name in ('train', 'val', 'test')} | dict(
        train_val=['session_train', 'session_val']
    )


def test_shares_that_leave_nothing_to_train_on_and_a_session_without_a_point_are_refused(write, tmp_path):
    facts = dict(annotation=write('a.txt', ANNOTATION), fps=25.0, pixels_per_cm=10.0)
    with pytest.raises(
        UserError, match=r'val_share \(0.5\) and test_share \(0.5\) must be positive and leave something'
    ):
        Session(write('p.csv', POSE), **facts, val_share=0.5, test_share=0.5)
    pose = write('q.csv', POSE + ''.join(f'{t},,,1.0,,,1.0\n' for t in range(3, 9)))
    with pytest.raises(DataError, match=r'q.csv: no point has a likelihood of at least 2'):
        import_session(Session(pose, **facts, min_likelihood=2.0), tmp_path / 'out')


def test_what_is_odd_about_the_files_is_said(write, tmp_path):
    pose = 'scorer,n,n\nbodyparts,top,top\ncoords,x,y\n' + ''.join(f'{t},{t},{t}\n' for t in range(12) if t != 5)
    annotation = ANNOTATION.replace('\t1\t3', '\t1\t4')
    session = Session(write('p.csv', pose), write('a.txt', annotation), fps=25.0, pixels_per_cm=10.0)
    said = []
    import_session(session, tmp_path / 'out', said.append)
    assert [line.split(': ')[0].rpartition('/')[2] for line in said] == ['p.csv', 'a.txt']
    assert '1 of 12 frames are not in the file (the first is 5)' in said[0]
    assert '1 intervals end in the frame in which the next one starts' in said[1]


def test_files_of_two_sessions_are_refused(write, tmp_path):
    session = Session(write('p.csv', POSE), write('a.txt', ANNOTATION), fps=25.0, pixels_per_cm=10.0)
    with pytest.raises(DataError, match='ends at frame 9, but the tracks have 3 frames: they are not of one session'):
        import_session(session, tmp_path)


def test_the_real_session_is_read_whole(shared_dir):
    folder = shared_dir / 'data' / 'rats'
    tracks = read_deeplabcut(folder / 'pose_session9.csv')
    assert tracks.position_TMP2.shape == (13362, 2, 5, 2)
    assert tracks.body_parts == ('top', 'body', 'tail', 'tail-m', 'tail-e')
    assert 0.25 < np.isnan(tracks.position_TMP2[..., 0]).mean() < 0.35
    events = read_caltech(folder / 'intervals_session9.txt').events
    assert len(events) == 31
    assert events[0][0] == 0
    assert events[-1][1] == 13362
    assert all(before[1] == after[0] for before, after in zip(events, events[1:], strict=False))
    assert np.mean([stop - start > 480 for start, stop, _ in events]) > 0.3


def test_anchors_fitted_to_real_intervals_find_more_than_the_default(shared_dir):
    from mmopt.ops.fit_anchors import anchor_recall, fit_anchors

    with (shared_dir / 'data' / 'calms21' / 'train_intervals.csv').open(newline='') as file:
        lengths = np.array([[float(row['stop']) - float(row['start']) + 1] for row in csv.DictReader(file)])
    fitted = fit_anchors(lengths, 5)
    default = np.array([[10.0], [30], [60], [120], [240]])
    assert len(lengths) == 4075
    assert anchor_recall(lengths, fitted) > anchor_recall(lengths, default) + 0.03
    assert anchor_recall(lengths, fitted) > 0.9
