"""FRED's raw files and annotated videos: parsed, matched, counted; stopped runs go on."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest

from mmopt.datasets.detection import CocoDataset
from mmopt.datasets.detection.fred import Label, frame_times, match_labels, read_labels
from mmopt.datasets.detection.prepare.clips import Clip, import_clips, read_boxes
from mmopt.datasets.detection.prepare.fred import (
    FredOptions,
    convert_sequence,
    prepare_fred,
    split_sequences,
    summarize_fred,
)
from mmopt.utils.errors import DataError, DataNotFoundError, UserError

HD = (720, 1280)


@pytest.fixture
def fred(tmp_path):
    """Three sequences of four frames per camera; the label file of the first has every oddity."""
    root = tmp_path / 'fred'
    for number in (4, 7, 9):
        rgb, event = root / str(number) / 'PADDED_RGB', root / str(number) / 'Event' / 'Frames'
        for folder in (rgb, event):
            folder.mkdir(parents=True)
        for step in range(4):
            image = np.full((72, 128, 3), 40 * step, np.uint8)
            second = 58 + step  # over the full minute
            clock = f'16_{3 + second // 60:02d}_{second % 60:02d}.500000'
            cv2.imwrite(str(rgb / f'Video_{number}_{clock}.jpg'), image)
            cv2.imwrite(str(event / f'Video_{number}_frame_{1000000 * step + 33333}.png'), image)
        (rgb / 'Thumbs.db').write_text('')
        (root / str(number) / 'coordinates.txt').write_text('0.0: 10, 10, 20, 20\n1.01: 12, 10, 22, 20\n')
    (root / '4' / 'coordinates.txt').write_text(
        '0.0: 10, 10, 20, 20, 1.0\n0.02: 50, 50, 60, 60, 2\n1.0: 120.0, 60.0, 140.0, 80.0, 1\n\n'
        '2.04: 5, 5, 5, 9, 1\n2.0: 200, 5, 220, 9, 2\n3.2: 1, 1, 9, 9, 1\n'
    )
    return root


def test_frames_get_the_nearest_label_of_every_drone_within_a_twentieth_of_a_second(fred):
    found = convert_sequence(fred, '4', 'coordinates.txt')
    for modality in ('rgb', 'event'):
        boxes = [row[4] for row in found['frames'][modality]]
        assert boxes == [[[10, 10, 20, 20], [50, 50, 60, 60]], [[120, 60, 128, 72]], [], []]
        assert [row[1] for row in found['frames'][modality]] == pytest.approx([0, 1, 2, 3])
        counts = found['counts'][modality]
        wanted = dict(clipped=1, no_area=1, outside=1, unlabeled=2, unused_labels=1, boxes=3, labels=6)
        assert {key: counts[key] for key in wanted} == wanted


def test_of_two_labels_the_nearer_counts_and_both_boxes_of_one_time():
    labels = [Label(0.0, (1, 1, 9, 9)), Label(0.04, (2, 2, 9, 9)), Label(0.04, (20, 20, 29, 29))]
    boxes, _ = match_labels([0.025], labels, HD)
    assert boxes[0].tolist() == [[2, 2, 9, 9], [20, 20, 29, 29]]
    assert [len(found) for found in match_labels([0.09, 0.091], labels, HD)[0]] == [2, 0]


def test_times_go_on_over_midnight():
    names = ['Video_1_23_59_59.900000.jpg', 'Video_1_00_00_00.100000.jpg', 'Video_1_00_00_00.400000.jpg']
    timed = frame_times(sorted(names), 'rgb')
    assert [name for _, name in timed] == names
    assert [time_s for time_s, _ in timed] == pytest.approx([0, 0.2, 0.5])


@pytest.mark.parametrize(
    ('line', 'match'),
    [
        ('1.0: 1, 2, 3', r'coordinates.txt:2: must be "time: x1'),
        ('soon: 1, 2, 3, 4', r':2: must be'),
        ('1.0 1, 2, 3, 4', r':2: must be'),
        ('1.0: 1, 2, nan, 4', r':2: must be'),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, match):
    path = tmp_path / 'coordinates.txt'
    path.write_text(f'0.5: 1, 2, 3, 4\n{line}\n')
    with pytest.raises(DataError, match=match):
        read_labels(path)


def test_real_label_files_are_parsed_and_their_oddities_counted(shared_dir):
    folder = shared_dir / 'data' / 'fred'
    for sequence, num_tracks, most in (('0', 1, 1), ('60', 2, 2)):
        labels = read_labels(folder / sequence / 'coordinates.txt')
        assert len(labels) > 1700
        assert len({label.track for label in labels}) == num_tracks
        end = labels[-1].time_s
        times = np.arange(0, end, 1 / 30).tolist()
        boxes, counts = match_labels(times, labels, HD)
        assert max(len(found) for found in boxes) == most
        assert counts['boxes'] > 1500
        assert (counts['clipped'] > 0) == (sequence == '0')
        assert counts['no_area'] + counts['outside'] < 0.05 * counts['boxes']
        assert counts['unused_labels'] < 0.02 * len(labels)
        whole = np.concatenate(boxes)
        assert (whole >= 0).all()
        assert (whole <= [1280, 720, 1280, 720]).all()


def test_the_whole_set_is_written_counted_and_read(fred, capsys):
    summary = prepare_fred(FredOptions(fred, num_workers=0))
    text = summarize_fred(summary, fred)
    assert 'boxes clipped to the image' in text
    assert 'frames without a label within 0.05 s left out' in text
    names = [json.loads((fred / f'annotations/rgb_{split}.json').read_text())['images'] for split in ('train', 'val')]
    sequences = [{image['sequence'] for image in images} for images in names]
    assert not sequences[0] & sequences[1]
    assert sum(counts['images'] for counts in summary['rgb'].values()) == 2 + 2 + 2
    assert summary['fusion'] == summary['rgb']
    assert 'without an event frame' not in text
    dataset = CocoDataset(
        'annotations/fusion_train.json',
        data_root=str(fred),
        pipeline=[dict(type='LoadImagePair'), dict(type='Letterbox', size=64), dict(type='PackDetection')],
    )
    assert dataset[0]['inputs'].shape == (6, 64, 64)
    with_empty = prepare_fred(FredOptions(fred, keep_unlabelled=True), say=lambda text: None)
    assert sum(counts['images'] for counts in with_empty['rgb'].values()) == 12


def test_a_second_run_makes_only_what_changed(fred):
    said = []
    first = prepare_fred(FredOptions(fred), say=said.append)
    assert not said
    assert prepare_fred(FredOptions(fred), say=said.append) == first
    assert said == ['3 of 3 sequences are finished; --force makes them anew.']
    (fred / '7' / 'coordinates.txt').write_text('0.0: 10, 10, 20, 20\n')
    (fred / 'annotations' / 'sequences' / '9.json').write_text('{"half a')
    said.clear()
    changed = prepare_fred(FredOptions(fred), say=said.append)
    assert said == ['1 of 3 sequences are finished; --force makes them anew.']
    assert sum(counts['boxes'] for counts in changed['rgb'].values()) == 3 + 1 + 2


@pytest.mark.slow
def test_workers_write_what_one_process_writes_and_hand_on_its_errors(fred):
    """Slow because each worker imports torch."""
    alone = prepare_fred(FredOptions(fred))
    files = {path: path.read_text() for path in (fred / 'annotations' / 'sequences').glob('*.json')}
    assert len(files) == 3
    assert prepare_fred(FredOptions(fred, num_workers=2, force=True), say=lambda text: None) == alone
    assert {path: path.read_text() for path in files} == files
    (fred / '7' / 'coordinates.txt').write_text('0.0: 1, 2\n')
    with pytest.raises(DataError, match='7/coordinates.txt:1: must be'):
        prepare_fred(FredOptions(fred, num_workers=2, force=True), say=lambda text: None)


def test_sequences_without_any_frame_are_named(fred):
    for path in fred.glob('*/*/**/Video_*'):
        path.unlink()
    with pytest.raises(DataNotFoundError, match='3 sequences.* hold no frame .*PADDED_RGB.*Event/Frames'):
        prepare_fred(FredOptions(fred))


def test_frames_without_a_partner_are_counted(fred):
    """One event camera missed a frame, another recorded nothing."""
    folder = fred / '4' / 'Event' / 'Frames'
    (folder / 'Video_4_frame_2033333.png').unlink()
    for path in (fred / '7' / 'Event' / 'Frames').iterdir():
        path.unlink()
    summary = prepare_fred(FredOptions(fred, keep_unlabelled=True))
    assert sum(counts['unpaired'] for counts in summary['fusion'].values()) == 1 + 4
    assert sum(counts['images'] for counts in summary['fusion'].values()) == 12 - 5
    assert 'frames without an event frame within half a frame left out' in summarize_fred(summary, fred)
    assert not sum(counts['unpaired'] for counts in summary['rgb'].values())


def test_a_split_by_frame_is_possible_and_the_shares_are_kept(fred):
    options = FredOptions(fred, split_by='frame', shares=(0.5, 0.25, 0.25), keep_unlabelled=True)
    summary = prepare_fred(options)
    assert [summary['event'][split]['images'] for split in ('train', 'val', 'test')] == [6, 3, 3]


def test_splits_are_seeded_and_none_with_a_share_is_empty():
    names = [str(number) for number in range(20)]
    split = split_sequences(names, (0.7, 0.15, 0.15), 42)
    assert Counter(split.values()) == dict(train=14, val=3, test=3)
    assert split == split_sequences(names, (0.7, 0.15, 0.15), 42)
    assert split != split_sequences(names, (0.7, 0.15, 0.15), 43)
    assert sorted(split_sequences(names[:3], (0.7, 0.15, 0.15), 42).values()) == ['test', 'train', 'val']
    assert split_sequences(names[:1], (0.7, 0.15, 0.15), 42) == {'0': 'train'}
    with pytest.raises(UserError, match='sum to 1'):
        split_sequences(names, (0.7, 0.2, 0.2), 42)


def test_folders_without_sequences_are_named(tmp_path, fred):
    with pytest.raises(DataNotFoundError, match='nowhere: no such folder'):
        prepare_fred(FredOptions(tmp_path / 'nowhere'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataNotFoundError, match='no folder holds coordinates.txt'):
        prepare_fred(FredOptions(tmp_path / 'empty'))
    broken = next((fred / '4' / 'PADDED_RGB').glob('*.jpg'))
    for path in (fred / '4' / 'PADDED_RGB').glob('*.jpg'):
        path.write_bytes(b'')
    with pytest.raises(DataError, match=f'{broken.parent}.*not an image'):
        prepare_fred(FredOptions(fred))


@pytest.fixture
def clip(tmp_path) -> Clip:
    """Ten frames, a box in the even ones."""
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 30, (64, 48))
    for number in range(10):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    rows = [f'{number},DRONE,{number},4.5,10,8' for number in range(0, 10, 2)] + ['3,BIRD,1,1,5,5']
    path.with_suffix('.csv').write_text('\n'.join(['frame,label,x,y,width,height', *rows]))
    return Clip(path)


def test_a_video_becomes_images_and_boxes_with_a_gap_between_the_splits(clip, tmp_path):
    assert import_clips([clip], tmp_path / 'out') == dict(train=6, val=3)
    val = json.loads((tmp_path / 'out/annotations/val.json').read_text())
    assert [image['file_name'] for image in val['images']] == [f'images/clip/{n:06d}.jpg' for n in (7, 8, 9)]
    assert [item['bbox'] for item in val['annotations']] == [[8, 4.5, 10, 8]]
    image = cv2.imread(str(tmp_path / 'out/images/clip/000008.jpg'))
    assert abs(int(image.mean()) - 160) <= 2


def test_other_labels_are_no_objects_and_steps_are_kept(clip, tmp_path):
    counts = import_clips([clip], tmp_path / 'out', classes=['bird'], train=(0, 0), val=(0, 1), step=3)
    assert counts == dict(train=0, val=4)
    val = json.loads((tmp_path / 'out/annotations/val.json').read_text())
    assert [item['bbox'] for item in val['annotations']] == [[1, 1, 5, 5]]


def test_clips_that_cannot_be_are_named(clip, tmp_path):
    with pytest.raises(UserError, match=r'train \(0.0, 0.8\) and val \(0.7, 1.0\) overlap'):
        import_clips([clip], tmp_path / 'out', train=(0.0, 0.8))
    with pytest.raises(UserError, match='step must be at least 1, got 0'):
        import_clips([clip], tmp_path / 'out', step=0)
    with pytest.raises(UserError, match='same name'):
        import_clips([clip, clip], tmp_path / 'out')
    with pytest.raises(DataNotFoundError, match='nowhere.mp4 does not exist'):
        import_clips([Clip(tmp_path / 'nowhere.mp4')], tmp_path / 'out')
    path = clip.video.with_suffix('.csv')
    text = path.read_text()
    path.write_text(text + '\n12,DRONE,1,1,5,5')
    with pytest.raises(DataError, match='has boxes of frame 12, .* has only 10 frames'):
        import_clips([clip], tmp_path / 'out')
    path.write_text(text + '\n5,DRONE,1,one,5,5')
    with pytest.raises(DataError, match=r'clip.csv:8: not a frame and four numbers'):
        read_boxes(path)
    path.write_text('frame,x\n')
    with pytest.raises(DataError, match='columns label, y, width, height are missing'):
        read_boxes(path)
    path.unlink()
    with pytest.raises(DataNotFoundError, match='a video needs a CSV of its name'):
        import_clips([clip], tmp_path / 'out')
    path.write_text(text)
    clip.video.write_bytes(b'no video')
    with pytest.raises(DataError, match='clip.avi: not a readable video'):
        import_clips([clip], tmp_path / 'out')


@pytest.mark.parametrize(('name', 'counts'), [('vfr.mkv', (36, 18)), ('tail_cut_faststart.mp4', (15, 4))])
def test_shares_are_of_the_frames_that_exist(shared_dir, tmp_path, name, counts):
    said = []
    boxes = tmp_path / 'boxes.csv'
    boxes.write_text('frame,label,x,y,width,height\n0,drone,1,2,3,4\n')
    clip = Clip(shared_dir / 'cases' / 'videos' / name, boxes)
    images = import_clips([clip], tmp_path / 'out', say=said.append)
    assert (images['train'], images['val']) == counts
    assert ['it is cut off' in line for line in said] == [True] * name.startswith('tail_cut')


def test_a_stopped_import_goes_on_after_the_last_whole_clip(clip, tmp_path):
    other = Clip(tmp_path / 'other.avi')
    other.video.write_bytes(clip.video.read_bytes())
    other.video.with_suffix('.csv').write_text(clip.video.with_suffix('.csv').read_text() + '\n99,DRONE,1,1,5,5')
    out = tmp_path / 'out'
    with pytest.raises(DataError, match='has boxes of frame 99'):
        import_clips([clip, other], out)
    first = out / 'images' / 'clip' / '000000.jpg'
    made = first.stat().st_mtime_ns
    assert not (out / 'annotations' / 'train.json').exists()
    other.video.with_suffix('.csv').write_text(clip.video.with_suffix('.csv').read_text())
    assert import_clips([clip, other], out, num_workers=2) == dict(train=12, val=6)
    assert first.stat().st_mtime_ns == made
    # What changed, was lost or was cut off is made anew.
    first.unlink()
    (out / 'annotations' / 'clips' / 'other.json').write_text('{"made_')
    assert import_clips([clip, other], out) == dict(train=12, val=6)
    assert first.is_file()
    assert import_clips([clip, other], out, step=2) == dict(train=6, val=2)


def test_boxes_of_other_labels_are_counted(clip, tmp_path):
    said = []
    import_clips([clip], tmp_path / 'out', say=said.append)
    assert said == [f"{clip.video}: 1 boxes of 'bird' are left out: it is none of the classes."]


@pytest.mark.parametrize(
    'text',
    [
        'frame;label;x;y;width;height\n0;Drone;1,5;2;5;6\n',
        '\ufeffframe,label,x,y,width,height\r\n0,Drone,1.5,2,5,6\r\n',
        'Label\tFrame\tX\tY\tWidth\tHeight\nDrone\t0.0\t1.5\t2\t5\t6\n',
    ],
)
def test_tables_of_boxes_are_read_as_programs_write_them(tmp_path, text):
    path = tmp_path / 'a.csv'
    path.write_bytes(text.encode())
    assert read_boxes(path) == {0: [('drone', 1.5, 2.0, 5.0, 6.0)]}


def test_boxes_without_a_size_are_left_out_and_counted(clip, tmp_path):
    path, said = clip.video.with_suffix('.csv'), []
    path.write_text('frame,label,x,y,width,height\n0,drone,1,1,-5,5\n0,drone,1,1,5,0\n1,drone,1,1,5,5\n')
    import_clips([clip], tmp_path / 'out', say=said.append)
    assert said == [f'{clip.video}: 2 boxes have no width or no height: they are left out.']
    train = json.loads((tmp_path / 'out/annotations/train.json').read_text())
    assert len(train['annotations']) == 1
