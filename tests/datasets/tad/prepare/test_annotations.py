"""Intervals as annotation programs write them."""

import pytest

from mmopt.datasets.tad.prepare.annotations import read_annotations
from mmopt.utils.errors import DataError

CALTECH = 'Caltech Behavior Annotator - Annotation File\n\nConfiguration file:\n{names}\n\n{events}'
HEADER = 'S{n}:\tstart\tend\ttype\n-----------------------------\n'
BENTO = """Bento annotation file
Movie file(s): a.avi

Stimulus name:
Annotation start frame: 1
Annotation stop frame: 100
Annotation framerate: 30

List of channels:
Ch1

List of annotations:
attack
close investigation

Ch1----------
>attack
Start\tStop\tDuration
1\t10\t10
21\t30\t10

>close investigation
Start\tStop\tDuration
11\t20\t10
"""


@pytest.fixture
def read(tmp_path):
    def _read(text: str, name: str = 'a.txt', encoding: str = 'utf-8', fps: float = 30.0):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return read_annotations(path, fps)

    return _read


def caltech(*events: str, names='other\to\nattack\ta') -> str:
    return CALTECH.format(names=names, events=HEADER.format(n=1) + '\n'.join(events) + '\n')


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'latin1'])
def test_every_encoding_reads_to_the_same_intervals(read, encoding):
    found = read(caltech('    1    10  öther', '   11    20  attack', names='öther\to\nattack\ta'), encoding=encoding)
    assert found.events == ((0, 10, 'öther'), (10, 20, 'attack'))
    assert (found.behaviors, found.notes) == (('öther', 'attack'), ())


def test_intervals_that_share_a_frame_leave_it_to_the_later_one(read):
    found = read(caltech('1 10 other', '10 20 attack', '20 20 other', '25 40 attack', '30 50 other'))
    assert found.events[:2] == ((0, 9, 'other'), (9, 19, 'attack'))
    assert found.notes == (
        '2 intervals end in the frame in which the next one starts: it goes to the later one.',
        '1 intervals overlap the next one of their stream: both are kept.',
    )


def test_a_name_may_have_spaces_and_the_list_of_names_may_be_missing(read):
    names = 'other\to\nclose investigation\tc'
    assert read(caltech('1 10 close investigation', names=names)).events == ((0, 10, 'close investigation'),)
    assert read(caltech('1 10 close investigation', names='')).events == ((0, 10, 'close investigation'),)
    spaced = read(caltech('1 10 close investigation', names='other o\nclose investigation c'))
    assert spaced.behaviors == ('other', 'close investigation')


def test_streams_are_pooled_and_do_not_touch_each_other(read):
    text = caltech('1 10 other') + '\n' + HEADER.format(n=2) + '10 20 attack\n'
    found = read(text)
    assert (found.events, found.notes) == (((0, 10, 'other'), (9, 20, 'attack')), ())


def test_what_ends_before_it_starts_is_left_out_and_said(read):
    found = read(caltech('9 4 other', '11 20 attack'))
    assert found.events == ((10, 20, 'attack'),)
    assert found.notes == ('1 intervals end before they start: they are left out.',)


def test_what_goes_on_after_the_video_is_cut_or_refused(read, tmp_path):
    found = read(caltech('1 90 other', '91 102 attack', '102 103 other'))
    inside = found.within(100, tmp_path / 'a.txt')
    assert inside.events == ((0, 90, 'other'), (90, 100, 'attack'))
    assert inside.notes[-1] == '2 intervals go on after the last of 100 tracked frames: they are cut there.'
    assert found.within(103, tmp_path / 'a.txt') is found
    with pytest.raises(DataError, match=r'a.txt: an interval ends at frame 103, but the tracks have 90 frames'):
        found.within(90, tmp_path / 'a.txt')


def test_bento_counts_frames_or_seconds(read):
    wanted = ((0, 10, 'attack'), (10, 20, 'close investigation'), (20, 30, 'attack'))
    found = read(BENTO, 'a.annot')
    assert (found.events, found.behaviors, found.notes) == (wanted, ('attack', 'close investigation'), ())
    seconds = BENTO.replace('1\t10\t10', '0.0\t1.0\t1.0').replace('21\t30\t10', '2.0 3.0 1.0')
    found = read(seconds.replace('11\t20\t10', '1.0 2.0 1.0').replace('20.0', '2.0'), 'a.annot', fps=10.0)
    assert found.events == wanted
    with pytest.raises(DataError, match=r"a.annot:19: expected start, stop and duration, found 'soon'"):
        read(BENTO.replace('1\t10\t10', 'soon', 1), 'a.annot')


AGGREGATED = """Observation id,Media file,FPS,Subject,Behavior,Behavior type,Start (s),Stop (s),Duration (s)
one,a.mp4,25.0,m1,attack,STATE,0.0,1.0,1.0
one,a.mp4,25.0,m2,mount,STATE,1.5,2.0,0.5
one,a.mp4,25.0,m1,bite,POINT,1.0,1.0,NA
"""
TABULAR = """Observation id,one
Media file,a.mp4

Time,Media file path,FPS,Subject,Behavior,Status
0.0,a.mp4,25,m1,attack,START
0.4,a.mp4,25,m1,bite,POINT
1.0,a.mp4,25,m1,attack,STOP
1.5,a.mp4,25,m2,mount,START
2.0,a.mp4,25,m2,mount,STOP
"""


@pytest.mark.parametrize(
    'text', [AGGREGATED, TABULAR, AGGREGATED.replace(',', '\t')], ids=['aggregated', 'tabular', 'tabs']
)
def test_boris_exports_seconds(read, text):
    found = read(text, 'a.csv', fps=10.0)
    assert found.events == ((0, 10, 'attack'), (15, 20, 'mount'))
    assert found.notes == ('1 point events have no length: they are left out.', "The subjects 'm1', 'm2' are pooled.")


@pytest.mark.parametrize(
    ('text', 'old', 'new', 'message'),
    [
        (AGGREGATED, 'one,a.mp4,25.0,m2', 'two,a.mp4,25.0,m2', 'a.csv: 2 observations in one file'),
        (AGGREGATED, '0.0,1.0,1.0', '0.0,soon,1.0', "a.csv:2: 'soon' is no time in seconds"),
        (AGGREGATED, '0.0,1.0,1.0', '0.0,NA,NA', "a.csv:2: 'attack' lacks its start or stop"),
        (TABULAR, '2.0,a.mp4,25,m2,mount,STOP\n', '', "'mount' starts at 1.5 s and never stops"),
        (TABULAR, 'attack,STOP', 'attack,START', "a.csv:7: 'attack' has status 'START' where"),
    ],
)
def test_a_broken_export_of_boris_is_refused(read, text, old, new, message):
    assert old in text
    with pytest.raises(DataError, match=message):
        read(text.replace(old, new), 'a.csv')


def test_labels_frame_by_frame(read):
    wanted = ((1, 3, 'attack'), (2, 4, 'mount'))
    simba = 'i,nose_x,nose_y,nose_p,touching,Movement,Probability_attack,attack,Probability_mount,mount\n'
    simba += ''.join(
        f'{t},1,2,0.9,1,{t / 7},0.5,{a},0.5,{m}\n' for t, (a, m) in enumerate(zip('0110', '0011', strict=True))
    )
    found = read(simba, 'a.csv')
    assert (found.events, found.behaviors) == (wanted, ('attack', 'mount'))
    named = read('frame,behavior\n0,\n1,attack\n2,attack\n3,none\n4,mount\n', 'a.csv')
    assert named.events == ((1, 3, 'attack'), (4, 5, 'mount'))
    never = read('frame,attack,mount\n0,0,0\n1,1,0\n', 'a.csv')
    assert (never.events, never.behaviors) == (((1, 2, 'attack'),), ('attack', 'mount'))
    with pytest.raises(DataError, match='no column label, behavior or action with names, and no columns of 0 and 1'):
        read('frame,x\n0,0.5\n', 'a.csv')
    with pytest.raises(DataError, match='a.csv:3: 1 values, the header has 2 columns'):
        read('frame,attack\n0,0\n1\n', 'a.csv')


@pytest.mark.parametrize('name', ['latin1', 'utf16', 'name_with_space', 'touching_inclusive'])
def test_texts_that_once_failed_are_read(shared_dir, name):
    found = read_annotations(shared_dir / 'cases' / 'poses' / f'{name}.txt', 30.0)
    ends = [stop for _, stop, _ in found.events[:-1]]
    assert found.events[0][0] == 0
    assert ends == [start for start, *_ in found.events[1:]]


def test_a_table_of_intervals_is_read_as_intervals(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_text(
        'agent_id,target_id,action,start_frame,stop_frame\nmouse1,mouse2,sniff,0,10\nmouse1,self,rear,20,30\n'
    )
    assert read_annotations(path, 25.0).events == ((0, 10, 'sniff'), (20, 30, 'rear'))
    path.write_text('action,start_frame,stop_frame\nsniff,0.5,10\n')
    with pytest.raises(DataError, match=r'a.csv:2: start_frame and stop_frame: 0.5 and 10 are no frames'):
        read_annotations(path, 25.0)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('start,end,label\n0,10,sniff\n', 'has the columns start and end, so its rows are intervals'),
        ('frame,behavior\n0,sniff\n5,sniff\n', r'a.csv:3: frame 5 follows frame 0: labels need one row for every'),
    ],
)
def test_rows_that_are_not_one_per_frame_are_not_counted_as_frames(tmp_path, text, message):
    (tmp_path / 'a.csv').write_text(text)
    with pytest.raises(DataError, match=message):
        read_annotations(tmp_path / 'a.csv', 25.0)


def test_columns_of_true_and_false_are_labels(tmp_path):
    (tmp_path / 'a.csv').write_text('frame,sniff,mount\n0,True,False\n1,False,True\n')
    assert read_annotations(tmp_path / 'a.csv', 25.0).events == ((0, 1, 'sniff'), (1, 2, 'mount'))
