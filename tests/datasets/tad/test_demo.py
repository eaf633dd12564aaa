import filecmp
import os
from pathlib import Path

import numpy as np
import pytest

from mmopt.datasets.tad.demo.make import DEMO_LABS, make_demo
from mmopt.datasets.tad.demo.world import ACTIONS, simulate
from mmopt.datasets.tad.motion import motion
from mmopt.datasets.tad.prepare import mabe
from mmopt.datasets.tad.prepare.mabe import prepare
from mmopt.utils.errors import DataError, DataNotFoundError, UserError


def test_the_same_seed_gives_the_same_files(mice, tmp_path):
    again = make_demo(tmp_path / 'again', 4, 2, video_s=20.0).out
    files = sorted(path.relative_to(mice) for path in mice.rglob('*') if path.is_file())
    assert {path.suffix for path in files} == {'.csv', '.parquet', '.txt', '.jpg', '.json'}
    different = [path for path in files if not filecmp.cmp(mice / path, again / path, shallow=False)]
    assert not different


def test_a_complete_world_is_left_alone_and_another_one_is_not_overwritten(tmp_path):
    first = make_demo(tmp_path / 'mabe', 1, 1, video_s=5.0)
    assert first.seconds > 0
    assert make_demo(tmp_path / 'mabe', 1, 1, video_s=5.0).seconds == 0
    with pytest.raises(UserError, match='holds a demo of other settings .num_train 1 -> 2.; --force'):
        make_demo(tmp_path / 'mabe', 2, 1, video_s=5.0)
    with pytest.raises(UserError, match='other settings .video_s 5.0 -> 6.0.; --force'):
        make_demo(tmp_path / 'mabe', 1, 1, video_s=6.0)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').touch()
    with pytest.raises(UserError, match='holds something that this tool did not make'):
        make_demo(tmp_path / 'mine', 1, 1, video_s=5.0)
    with pytest.raises(UserError, match='videos of at least 4 s, got video_s=1'):
        make_demo(tmp_path / 'short', 1, 1, video_s=1.0)
    assert not (tmp_path / 'short').exists()


def test_a_killed_world_goes_on_and_ends_the_same(mice, tmp_path, capsys):
    out = make_demo(tmp_path / 'mabe', 4, 2, video_s=20.0).out
    out.rename(tmp_path / 'mabe.partial')
    gone = tmp_path / 'mabe.partial' / 'train_annotation' / 'DemoOtter' / '100002.parquet'
    gone.rename(gone.with_name(f'.{gone.name}'))  # killed while it was written
    make_demo(tmp_path / 'mabe', 4, 2, video_s=20.0)
    assert '5 of 6 samples were made before the last stop' in capsys.readouterr().out
    files = sorted(path.relative_to(mice) for path in mice.rglob('*') if path.is_file())
    assert sorted(path.relative_to(out) for path in out.rglob('*') if path.is_file()) == files
    assert all(filecmp.cmp(mice / path, out / path, shallow=False) for path in files)


@pytest.fixture(scope='module')
def film():
    """Return speed (T, M), body length (T, M), nose-to-tail distance and the events of four minutes."""
    lab = DEMO_LABS[0]
    position, events = simulate(lab, 2, round(240 * lab.fps), np.random.default_rng(1))
    nose, tail = (position[:, :, lab.body_parts.index(name)] for name in ('nose', 'tail_base'))
    speed = motion(tail, lab.fps)[0]
    length = np.linalg.norm(nose - tail, axis=-1)
    gap = np.stack([np.linalg.norm(nose[:, a] - tail[:, 1 - a], axis=-1) for a in (0, 1)], axis=-1)
    return speed, length, gap, events


def test_all_four_behaviors_happen_to_all_mice(film):
    *_, events = film
    assert {(agent, action) for _, _, agent, _, action in events} == {(a, name) for a in (0, 1) for name in ACTIONS}


@pytest.mark.parametrize(
    ('action', 'holds'),
    [
        ('rear', lambda speed, length, gap: length < 6.5 and speed < 6),
        ('chase', lambda speed, length, gap: speed > 15 and length > 7),
        ('sniff', lambda speed, length, gap: gap < 4 and speed < 15),
        ('attack', lambda speed, length, gap: speed > 20),
    ],
)
def test_a_behavior_shows_in_the_tracks(film, action, holds):
    speed, length, gap, events = film
    shown = [
        holds(*(np.median(values[start:stop, agent]) for values in (speed, length, gap)))
        for start, stop, agent, _, name in events
        if name == action and stop - start > 25
    ]
    assert len(shown) > 3
    assert np.mean(shown) > 0.8


@pytest.fixture
def download(tmp_path) -> Path:
    return make_demo(tmp_path / 'mabe', 6, 4, video_s=8.0).out


def test_preparing_counts_and_splits_every_laboratory(download):
    report = prepare(download, val_share=0.2)
    assert report.num_videos == report.num_labeled == 10
    assert report.per_lab == dict(DemoOtter=5, DemoHeron=5)
    assert [len(report.splits[name]) for name in ('train', 'val')] == [8, 2]
    assert (download / 'splits' / 'val.txt').read_text().split() == sorted(report.splits['val'])
    assert report.hours == pytest.approx(10 * 8 / 3600, rel=0.01)
    assert 'in 2 laboratories: DemoHeron 5, DemoOtter 5' in str(report)
    assert prepare(download, val_share=0.2).splits == report.splits


def test_missing_files_are_listed_and_can_be_left_out(download):
    for name in ('100001', '100003'):
        (download / 'train_annotation' / 'DemoHeron' / f'{name}.parquet').unlink()
    with pytest.raises(DataError, match=r'2 labeled video.s. cannot be used:(.|\n)*is missing(.|\n)*--skip-missing'):
        prepare(download)
    broken = download / 'train_tracking' / 'DemoOtter' / '100000.parquet'
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(DataError, match=f'{broken}: not a readable parquet file'):
        prepare(download)
    report = prepare(download, skip_missing=True)
    assert sorted(report.skipped) == ['DemoHeron/100001', 'DemoHeron/100003', 'DemoOtter/100000']
    assert report.num_labeled == 7


def test_an_unfinished_download_names_the_folder(download):
    (download / 'train_tracking').rename(download / 'elsewhere')
    with pytest.raises(DataNotFoundError, match='train_tracking is missing: unpack the whole'):
        prepare(download)


def test_a_table_without_labels_and_a_share_of_everything_are_refused(download):
    with pytest.raises(UserError, match='val_share must lie between 0 and 1, got 1'):
        prepare(download, val_share=1.0)
    header, *rows = (download / 'train.csv').read_text().splitlines()
    unlabeled = [row[: row.rindex(',"[')] + ',[]' for row in rows]  # behaviors_labeled is the last column
    (download / 'train.csv').write_text('\n'.join([header, *unlabeled]) + '\n')
    with pytest.raises(DataError, match='none of its 10 videos has behaviors_labeled: nothing to train on'):
        prepare(download)


def keep_videos(download: Path, num: int) -> None:
    """Leave so many rows in train.csv, each of another laboratory."""
    header, *rows = (download / 'train.csv').read_text().splitlines()
    by_lab = {row.split(',')[0]: row for row in rows}
    (download / 'train.csv').write_text('\n'.join([header, *list(by_lab.values())[:num]]) + '\n')


def test_laboratories_of_one_video_each_are_divided_among_training_and_validation(download):
    keep_videos(download, 2)
    report = prepare(download)
    assert [len(report.splits[name]) for name in ('train', 'val')] == [1, 1]
    assert len({report.splits['train'][0], report.splits['val'][0]}) == 2


def test_a_single_video_cannot_be_divided(download):
    keep_videos(download, 1)
    with pytest.raises(DataError, match='is the only labeled one; training and validation need one each'):
        prepare(download)


def test_a_stopped_check_goes_on_and_reads_what_changed_anew(tmp_path, monkeypatch):
    root = make_demo(tmp_path / 'mabe', 4, 2, video_s=20.0).out
    first = str(prepare(root))
    kept = sorted((root / 'cache' / 'checked').rglob('*.json'))
    assert len(kept) == 6
    reads = []
    read = mabe.read_tracks
    monkeypatch.setattr(mabe, 'read_tracks', lambda path, parts: reads.append(path) or read(path, parts))
    kept[0].unlink()  # as if the run had been killed before it
    kept[1].write_text('{"made')
    assert str(prepare(root)) == first
    assert len(reads) == 2
    (video,) = [path for path in (root / 'train_annotation').rglob('*.parquet') if path.stem == kept[2].stem]
    os.utime(video)
    assert str(prepare(root)) == first
    assert len(reads) == 3
