import csv
import json
import shutil

import numpy as np
import pytest
import torch

from mmopt.datasets.tad.layout import parse_behavior, read_videos, write_videos
from mmopt.datasets.tad.mabe import window_starts
from mmopt.datasets.tad.motion import fill_gaps, motion_features
from mmopt.datasets.tad.prepare.mabe import prepare
from mmopt.datasets.tad.tables import count_frames, read_annotation, read_tracks, write_table, write_tracks
from mmopt.utils.errors import DataError, DataNotFoundError
from mmopt.utils.seeding import SampleIndex
from tests.datasets.tad.conftest import PARTS


@pytest.fixture
def copy(mice, tmp_path):
    """Return a copy of the demo that a test may break."""
    return shutil.copytree(mice, tmp_path / 'copy')


def rewrite_csv(root, **changes) -> None:
    path = root / 'train.csv'
    with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows([rows[0] | changes, *rows[1:]])


@pytest.mark.parametrize(
    ('frames', 'expected'), [(100, [0]), (200, [0]), (201, [0, 1]), (450, [0, 100, 200, 250]), (400, [0, 100, 200])]
)
def test_windows_cover_the_video_and_the_last_ends_with_it(frames, expected):
    assert window_starts(frames, window=200, overlap=100) == expected


def test_a_window_equals_the_whole_video_cut(build):
    """Gaps, speeds and accelerations at a window's border are those of the whole video."""
    dataset = build()
    for index in (0, 3, len(dataset) - 1):
        info, sample = dataset.get_data_info(index), dataset[index]
        video = info['video']
        tracks = read_tracks(info['path'], video.body_parts)
        filled = fill_gaps(tracks.reshape(len(tracks), -1, 2), round(0.5 * video.fps)).reshape(tracks.shape)
        position = (filled - np.array(video.size_px, dtype=np.float32) / 2) / np.float32(video.pixels_per_cm)
        slots = np.full((len(position), 3, len(PARTS), 2), np.nan, dtype=np.float32)
        for p, name in enumerate(video.body_parts):
            slots[:, : position.shape[1], PARTS.index(name)] = position[:, :, p]
        whole = motion_features(slots.reshape(len(slots), -1, 2), video.fps, video.arena_cm, True)
        start, stop = sample['data_samples'].window
        np.testing.assert_array_equal(sample['inputs']['features'].numpy(), whole[start:stop])


def test_a_short_video_is_padded_and_says_where(build):
    sample = build(window=1000, overlap=0)[0]
    num_frames = sample['data_samples'].num_frames
    assert sample['inputs']['features'].shape[0] == 1000
    assert sample['inputs']['valid'].sum() == num_frames < 1000
    assert not sample['inputs']['features'][num_frames:].any()
    assert sample['data_samples'].segments.max() <= num_frames


def test_all_events_of_a_video_are_in_its_test_samples(build):
    dataset = build('val')
    for number, video in enumerate(dataset.videos):
        samples = [s['data_samples'] for s in map(dataset.__getitem__, range(len(dataset)))]
        seen = {tuple(row) for s in samples if s.video_id == video.video_id for row in s.truth.tolist()}
        assert seen == set(map(tuple, dataset.events[number].tolist()))


def test_what_nobody_looked_for_is_no_label(copy, build):
    """mouse2,mouse1,sniff happens in one laboratory, where nobody looked for it."""
    dataset = build(data_root=str(copy), split_file='')
    sniff = dataset.metainfo['classes'].index('sniff')
    index = next(i for i in range(len(dataset)) if dataset[i]['data_samples'].lab_id == 'DemoHeron')
    triples = dataset[index]['data_samples'].labeled.tolist()
    assert [0, 1, sniff] in triples
    assert [1, 0, sniff] not in triples
    number = next(n for n, video in enumerate(dataset.videos) if len(dataset.events[n]))
    video, event = dataset.videos[number], dataset.events[number][0]
    action = dataset.metainfo['classes'][event[4]]
    target = 'self' if event[2] == event[3] else f'mouse{event[3] + 1}'
    name = f'mouse{event[2] + 1},{target},{action}'
    path = copy / 'train.csv'
    with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    row = next(row for row in rows if row['video_id'] == video.video_id)
    kept = [entry for entry in json.loads(row['behaviors_labeled']) if entry != name]
    rows = [
        row | dict(behaviors_labeled=json.dumps(kept)) if row['video_id'] == video.video_id else row for row in rows
    ]
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    reduced = build(data_root=str(copy), split_file='').events[number]
    assert len(dataset.events[number]) - len(reduced) > 0
    assert not (reduced[:, 2:] == event[2:]).all(axis=1).any()


def test_augmentation_depends_on_seed_epoch_and_index_alone(build):
    dataset = build(augment=True)

    def features(*index):
        return dataset[SampleIndex(*index)]['inputs']['features']

    assert torch.equal(features(1, 5, 2), features(1, 5, 2))
    assert not torch.equal(features(1, 5, 2), features(1, 5, 3))


def test_renumbered_mice_take_their_labels_along(build):
    """The mouse that rears is the one whose body is short, whatever its number."""
    dataset = build(augment=True, window=480, overlap=0)
    rear = dataset.metainfo['classes'].index('rear')
    seen = 0
    for epoch in range(4):
        for index in range(len(dataset)):
            sample = dataset[SampleIndex(index, 0, epoch)]
            labels = sample['data_samples']
            xy = sample['inputs']['features'][:, :48].view(-1, 3, 8, 2)
            length = (xy[:, :, 0] - xy[:, :, 7]).norm(dim=-1)  # nose to tail base
            for (start, stop), agent in zip(
                labels.segments[labels.actions == rear].long().tolist(),
                labels.agents[labels.actions == rear].tolist(),
                strict=True,
            ):
                if stop - start > 20:
                    middle = length[(start + stop) // 2 - 3 : (start + stop) // 2 + 3].median(dim=0).values
                    number = 3 if (xy[:, 2] != 0).any() else 2
                    assert middle[:number].argmin() == agent
                    seen += 1
    assert seen >= 10


def test_a_session_wide_label_survives_renumbering(build):
    dataset = build(augment=True)
    info = dataset.get_data_info(0)
    info |= dict(labeled=np.array([[-1, -1, 2]]), events=np.array([[0, 50, -1, -1, 2]]), rng=np.random.default_rng(0))
    sample = dataset.pipeline(info)['data_samples']
    assert sample.labeled.tolist() == [[-1, -1, 2]]
    assert sample.agents.tolist() == [-1]


def test_the_cache_gives_the_same_samples_and_notices_a_new_file(copy, build):
    plain, cached = build(), build(data_root=str(copy), cache_dir='cache')
    assert torch.equal(plain[2]['inputs']['features'], cached[2]['inputs']['features'])
    files = list((copy / 'cache').iterdir())
    assert len(files) == 1
    path = cached.get_data_info(2)['path']
    write_table(
        path, dict(video_frame=[0, 599], mouse_id=[1, 1], bodypart=['nose', 'nose'], x=[1.0, 1.0], y=[2.0, 2.0])
    )
    assert not build(data_root=str(copy), cache_dir='cache')[2]['inputs']['features'][5:-5].any()


def test_the_timeline_has_a_row_for_truth_and_one_for_the_prediction(build):
    dataset = build('val')
    sample = dataset[0]['data_samples']
    alone = dataset.draw(sample)
    sample.pred_segments, sample.pred_triples = sample.segments, sample.labeled[: len(sample.segments)]
    both = dataset.draw(sample)
    assert alone.dtype == np.uint8
    assert both.shape[0] > alone.shape[0]


def test_videos_without_a_labeled_segment_are_nothing_to_learn_from(build):
    dataset = build()
    assert dataset.nothing_to_learn() == ''
    dataset.events = [events[:0] for events in dataset.events]
    assert 'has a segment of a behavior in behaviors_labeled' in dataset.nothing_to_learn()


def test_anchor_sizes_are_what_windows_show(build):
    sizes = build(window=60, overlap=0).anchor_sizes()
    assert sizes.shape[1] == 1
    assert 1 <= sizes.min() <= sizes.max() <= 60


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('mouse1,mouse2,attack', (0, 1, 'attack')),
        ('mouse2,self,rear', (1, 1, 'rear')),
        ("'mouse1','mouse2','sniff'", (0, 1, 'sniff')),
        ('all,all,social', (-1, -1, 'social')),
    ],
)
def test_labeled_behaviors_as_the_competition_writes_them(text, expected):
    assert parse_behavior(text) == expected


def test_the_competitions_own_rows_are_read(shared_dir):
    videos = read_videos(shared_dir / 'data' / 'mabe_metadata' / 'train_head2_per_lab.csv')
    assert len(videos) == 42
    by_lab = {video.lab_id: video for video in videos}
    assert by_lab['LyricalHare'].fps == 120.0
    assert {action for *_, action in by_lab['DeliriousFly'].labeled} == {'attack', 'dominance', 'sniff'}
    assert not by_lab['MABe22_movies'].labeled
    assert max(len(video.body_parts) for video in videos) == 18
    assert read_videos(shared_dir / 'data' / 'mabe_metadata' / 'test.csv')[0].video_id == '438887472'


def test_a_missing_folder_names_both_ways_to_get_data(tmp_path):
    with pytest.raises(DataNotFoundError, match=r'train.csv is missing(.|\n)*make_demo.py mabe'):
        read_videos(tmp_path / 'train.csv')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(frames_per_second='fast'), r"train.csv:2: column frames_per_second: could not convert.*'fast'"),
        (dict(behaviors_labeled='["mouse1,attack"]'), r'train.csv:2: column behaviors_labeled: .* is not "agent'),
        (dict(behaviors_labeled='["mouse0,self,rear"]'), 'names no mouse: expected mouse1, mouse2'),
        (dict(frames_per_second='0'), 'train.csv:2: column frames_per_second: 0 is not positive and finite'),
        (dict(frames_per_second='inf'), 'column frames_per_second: inf is not positive and finite'),
        (dict(arena_width_cm='0', arena_height_cm='0'), 'column arena_width_cm and arena_height_cm: 0 is not positive'),
        (dict(pix_per_cm_approx='nan'), 'column pix_per_cm_approx: nan is not positive and finite'),
        (dict(body_parts_tracked='["nose", "nose"]'), 'column body_parts_tracked: the parts .* not all different'),
        (
            dict(lab_id='DemoHeron', video_id='100001'),
            'train.csv:3: video 100001 of DemoHeron is there twice, .* line 2',
        ),
    ],
)
def test_a_broken_row_names_line_and_column(copy, changes, message):
    rewrite_csv(copy, **changes)
    with pytest.raises(DataError, match=message):
        read_videos(copy / 'train.csv')


def test_a_missing_column_is_named(copy):
    (copy / 'train.csv').write_text('lab_id,video_id\nA,1\n')
    with pytest.raises(DataError, match='missing column.s. frames_per_second, pix_per_cm_approx'):
        read_videos(copy / 'train.csv')


def test_a_tracking_file_without_a_column_is_named(tmp_path):
    write_table(tmp_path / 'a.parquet', dict(video_frame=[0], mouse_id=[1], x=[1.0], y=[1.0]))
    with pytest.raises(DataError, match=r'a.parquet: missing column.s. bodypart; found'):
        read_tracks(tmp_path / 'a.parquet', ['nose'])


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / 'a.parquet').write_text('hello')
    with pytest.raises(DataError, match=r'a.parquet: not a readable parquet file'):
        read_tracks(tmp_path / 'a.parquet', ['nose'])
    with pytest.raises(DataError, match=r'a.parquet: not a readable parquet file'):
        count_frames(tmp_path / 'a.parquet')


def test_an_unknown_action_names_file_and_row(tmp_path):
    columns = dict(agent_id=[1], target_id=[2], action=['jump'], start_frame=[0], stop_frame=[5])
    write_table(tmp_path / 'a.parquet', columns)
    with pytest.raises(DataError, match=r"a.parquet: row 0: unknown action 'jump'; known: \['rear'\]"):
        read_annotation(tmp_path / 'a.parquet', ['rear'])


def test_frames_are_counted_without_reading_the_tracks(mice, build):
    info = build().get_data_info(0)
    assert count_frames(info['path']) == len(read_tracks(info['path'], info['video'].body_parts))


def test_a_video_may_go_on_after_its_last_point(copy, build):
    info = build(data_root=str(copy)).get_data_info(0)
    columns = dict(video_frame=[0, 595], mouse_id=[1, 1], bodypart=['nose'] * 2, x=[1.0, 1.0], y=[2.0, 2.0])
    write_table(info['path'], columns)
    dataset = build(data_root=str(copy))
    last = max(i for i in range(len(dataset)) if dataset.get_data_info(i)['video'].video_id == info['video'].video_id)
    assert dataset[last]['inputs']['valid'].all()
    columns['video_frame'] = [0, 400]
    write_table(info['path'], columns)
    with pytest.raises(DataError, match=r'an event stops at frame \d+, but the tracks have only 401 frames'):
        build(data_root=str(copy))


def test_a_split_with_a_foreign_video_is_refused(copy, build):
    (copy / 'splits' / 'train.txt').write_text('7\n')
    with pytest.raises(DataError, match=r'train.txt: 1 video.s. are not in the list of videos: 7'):
        build(data_root=str(copy))


def test_a_class_list_that_lacks_an_action_is_refused(build):
    with pytest.raises(DataError, match=r"action.s. \['sniff'\] that metainfo.classes lacks"):
        build(metainfo=dict(classes=['attack', 'chase', 'rear']))


def test_an_overlap_as_long_as_the_window_is_refused(build):
    with pytest.raises(ValueError, match=r'overlap must be in \[0, window=200\), got 200'):
        build(overlap=200)


def test_a_laboratory_that_does_not_exist_is_named_with_those_that_do(build):
    known = sorted({video.lab_id for video in build().videos})
    with pytest.raises(DataError, match=rf'labs: .*train.csv has no Typo. .*There are: .*{known[0]}'):
        build(labs=['Typo'])
    with pytest.raises(DataError, match=rf'has no {known[0]}x. Did you mean {known[0]}'):
        build(labs=[known[0], f'{known[0]}x'])


def test_a_selection_without_a_labeled_video_says_which_are_labeled(build, copy):
    (copy / 'splits' / 'none.txt').write_text('')
    with pytest.raises(DataError, match=r'none.txt: none of its 0 videos is chosen: labeled are '):
        build(data_root=str(copy), split_file='splits/none.txt')
    path = copy / 'train.csv'
    with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    write_videos(path, [row | dict(behaviors_labeled='[]') for row in rows])
    with pytest.raises(DataError, match=r'train.csv: none of the 6 videos has behaviors_labeled'):
        build(data_root=str(copy), split_file='')


TRACKS = dict(video_frame=[0, 1], mouse_id=[1, 1], bodypart=['nose', 'nose'], x=[0.0, 1.0], y=[0.0, 1.0])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(mouse_id=['mouse1', 'mouse1']), None),
        (dict(mouse_id=[1.0, 1.0]), None),
        (dict(mouse_id=[0, 1]), "mouse_id: '0' names no mouse"),
        (dict(mouse_id=[None, 1]), 'mouse_id: .* names no mouse'),
        (dict(mouse_id=['all', 'all']), 'tracks are of one mouse, not of all'),
        (dict(video_frame=[0, 10**9]), 'video_frame must hold whole numbers from 0 to 9999999; row 1 has 1000000000'),
        (dict(video_frame=[-1, 0]), 'video_frame must hold whole numbers from 0 to 9999999; row 0 has -1'),
        (dict(video_frame=[None, 1]), 'video_frame must hold whole numbers from 0 to 9999999; row 0 has nan'),
        (dict(video_frame=['a', 'b']), 'video_frame holds something that is no number'),
        (dict(bodypart=['Nose', 'Nose']), r"none of the body parts \['nose'\]; found \['Nose'\]. Upper and lower case"),
    ],
)
def test_what_training_would_refuse_is_refused_when_tracks_are_read(tmp_path, changes, message):
    write_table(tmp_path / 'tracks.parquet', TRACKS | changes)
    if message is None:
        assert read_tracks(tmp_path / 'tracks.parquet', ['nose']).shape == (2, 1, 1, 2)
        return
    with pytest.raises(DataError, match=message):
        read_tracks(tmp_path / 'tracks.parquet', ['nose'])


def test_five_mice_are_read_and_packed(tmp_path):
    tracks = np.arange(3 * 5 * 2.0, dtype=np.float32).reshape(3, 5, 1, 2)
    write_tracks(tmp_path / 'tracks.parquet', tracks, ['nose'])
    np.testing.assert_array_equal(read_tracks(tmp_path / 'tracks.parquet', ['nose']), tracks)


@pytest.fixture
def twins(copy):
    """Return a download in which both laboratories have a video 1."""
    with (copy / 'train.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    chosen = {row['lab_id']: row for row in rows[::-1]}
    for lab, row in chosen.items():
        for folder in ('train_tracking', 'train_annotation'):
            (copy / folder / lab / f'{row["video_id"]}.parquet').rename(copy / folder / lab / '1.parquet')
        row['video_id'] = '1'
    write_videos(copy / 'train.csv', rows)
    return copy


def test_laboratories_may_both_number_their_videos_from_1(twins, build):
    report = prepare(twins, num_workers=2)
    names = [name for split in report.splits.values() for name in split]
    assert {'DemoHeron/1', 'DemoOtter/1'} < set(names)
    assert len(names) == len(set(names)) == 6
    both = [build(split, data_root=str(twins)) for split in ('train', 'val')]
    assert sum(len(dataset.videos) for dataset in both) == 6
    (twins / 'splits' / 'train.txt').write_text('1\n')
    with pytest.raises(DataError, match='video 1 is one of 2 laboratories; write which: DemoOtter/1 or DemoHeron/1'):
        build(data_root=str(twins))


def test_an_empty_prefix_of_annotations_reads_none(build, copy):
    shutil.rmtree(copy / 'train_annotation')
    dataset = build(data_root=str(copy), data_prefix=dict(tracks='train_tracking', annotations=''))
    dataset.full_init()
    assert sum(len(events) for events in dataset.events) == 0
    assert 'no folder of annotations' in dataset.nothing_to_learn()
