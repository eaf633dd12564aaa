import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmopt.datasets.bev import NuScenesBEVDataset
from mmopt.datasets.bev.prepare import Options, prepare, summarize
from mmopt.datasets.bev.prepare.write import Layout
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from tests.datasets.bev.prepare.conftest import K

TOOL = Path(__file__).resolve().parents[4] / 'tools' / 'datasets' / 'prepare_nuscenes.py'


@pytest.fixture
def run(make_root, tmp_path):
    """Return a function that prepares the tiny nuScenes in this process and gives its folder and the summary."""
    root = make_root()

    def _run(**changes):
        options = dict(source=root, out=tmp_path / 'out', num_workers=0, num_previews=0) | changes
        return options['out'], prepare(Options(**options), say=lambda line: None)

    return _run


def test_the_data_set_reads_what_was_written(run):
    out, summary = run()
    train = NuScenesBEVDataset(data_root=str(out))
    val = NuScenesBEVDataset(data_root=str(out), img_dir='img_dir/val', ann_dir='ann_bev_dir/val')
    assert [Path(train.get_data_info(0)['img_path']).stem, len(train)] == ['CAM_FRONT-scene-0061', 1]
    assert [Path(val.get_data_info(0)['img_path']).stem, len(val)] == ['CAM_FRONT-scene-0103', 1]
    np.testing.assert_allclose(train.get_data_info(0)['intrinsics'], K)
    bits_ZX = cv2.imread(train.get_data_info(0)['label_path'], cv2.IMREAD_UNCHANGED)
    assert (bits_ZX.dtype, bits_ZX.shape) == (np.uint16, (196, 200))
    assert (summary.made, summary.kept, summary.missing) == (2, 0, 0)


def test_the_summary_counts_cells_that_count(run):
    out, summary = run(occlusion='none')
    car = 4
    assert summary.images_with_class['train'][car] == 1
    bits_ZX = cv2.imread(str(out / 'ann_bev_dir/train/CAM_FRONT-scene-0061.png'), cv2.IMREAD_UNCHANGED)
    seen_ZX = bits_ZX < 1 << 14
    # The car of 9 x 17 points lies in the field of view and is not hidden.
    np.testing.assert_allclose(summary.share_of_class['train'][car], 9 * 17 / seen_ZX.sum())
    np.testing.assert_allclose(summary.share_seen['train'], seen_ZX.mean())
    text = summarize(summary)
    assert '2 samples made, 0 kept' in text


def test_a_second_run_keeps_finished_samples_and_force_makes_them_anew(run):
    out, _ = run()
    label = out / 'ann_bev_dir/train/CAM_FRONT-scene-0061.png'
    good, first_time = label.read_bytes(), label.stat().st_mtime_ns
    (out / 'ann_bev_dir/val/CAM_FRONT-scene-0103.png').unlink()
    _, summary = run()
    assert (summary.made, summary.kept) == (1, 1)
    assert label.stat().st_mtime_ns == first_time
    _, summary = run(force=True)
    assert (summary.made, summary.kept) == (2, 0)
    assert label.read_bytes() == good


def test_what_a_killed_run_left_half_written_is_removed(run):
    out, _ = run()
    torn = out / 'ann_bev_dir/train/.prepare-123-a.png'
    torn.write_bytes(b'half')
    run()
    assert not torn.exists()


def test_a_failing_write_leaves_the_old_file_and_nothing_torn(run, monkeypatch):
    out, _ = run()
    label = out / 'ann_bev_dir/train/CAM_FRONT-scene-0061.png'
    good = label.read_bytes()

    def fail(self, content):
        with open(self, 'wb') as file:
            file.write(content[:10])
        raise OSError('disk full')

    monkeypatch.setattr(Path, 'write_bytes', fail)
    with pytest.raises(OSError, match='disk full'):
        run(force=True)
    assert label.read_bytes() == good
    assert not list(out.rglob('.prepare-*'))


def test_other_settings_do_not_mix_with_finished_labels(run):
    run()
    with pytest.raises(UserError, match=r'made with occlusion = lidar, this run has boxes. Choose another --out'):
        run(occlusion='boxes')
    _, summary = run(occlusion='boxes', force=True)
    assert summary.made == 2


def test_labels_of_another_tool_are_not_touched(run, tmp_path):
    folder = tmp_path / 'out' / 'ann_bev_dir' / 'train'
    folder.mkdir(parents=True)
    (folder / 'foreign.png').touch()
    with pytest.raises(UserError, match=r'holds labels, but no prepare.json: another tool made them'):
        run()


def test_another_split_takes_a_sample_out_of_the_first(run, tmp_path):
    out, _ = run()
    split_file = tmp_path / 'split.json'
    split_file.write_text(json.dumps(dict(train=['scene-0103'], val=['scene-0061'])))
    with pytest.raises(UserError, match='made with split = v1.0-mini, official'):
        run(split_file=split_file)
    run(split_file=split_file, force=True)
    names = {split: [path.stem for path in (out / 'ann_bev_dir' / split).iterdir()] for split in ('train', 'val')}
    assert names == dict(train=['CAM_FRONT-scene-0103'], val=['CAM_FRONT-scene-0061'])


def test_more_cameras_join_what_is_there(run):
    run()
    out, summary = run(cameras=['CAM_FRONT', 'CAM_BACK'])
    assert (summary.made, summary.kept) == (2, 2)
    assert len(json.loads((out / 'calib.json').read_text())) == 4


def test_a_missing_image_is_named_and_can_be_left_out(run, make_root, tmp_path):
    (tmp_path / 'raw/samples/CAM_FRONT/scene-0103.jpg').unlink()
    with pytest.raises(DataNotFoundError, match=r'scene-0103.jpg: no such file, .* \(1 of 2 samples lack one\)'):
        run()
    out, summary = run(skip_missing=True)
    assert (summary.made, summary.missing) == (1, 1)
    assert list(json.loads((out / 'calib.json').read_text())) == ['CAM_FRONT-scene-0061']


def test_without_sweeps_boxes_can_hide_cells(run, tmp_path):
    for path in (tmp_path / 'raw/samples/LIDAR_TOP').iterdir():
        path.unlink()
    with pytest.raises(DataNotFoundError, match=r'pcd.bin: no such file'):
        run()
    _, summary = run(occlusion='boxes')
    assert summary.made == 2


@pytest.mark.parametrize(
    ('link', 'is_link', 'same_file'), [('auto', False, True), ('hard', False, True), ('symlink', True, True),
                                       ('copy', False, False)],
)  # fmt: skip
def test_images_are_linked_or_copied_but_never_encoded_anew(run, tmp_path, link, is_link, same_file):
    out, _ = run(link=link)
    run(link=link, force=True)
    source = tmp_path / 'raw/samples/CAM_FRONT/scene-0061.jpg'
    target = out / 'img_dir/train/CAM_FRONT-scene-0061.jpg'
    assert target.is_symlink() is is_link
    assert target.samefile(source) is same_file
    assert target.read_bytes() == source.read_bytes()


def test_where_no_hard_link_is_possible_auto_links_by_name_and_hard_explains(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(18, 'Invalid cross-device link')

    monkeypatch.setattr(os, 'link', refuse)
    image = tmp_path / 'a.jpg'
    image.write_bytes(b'image')
    bits_ZX = np.zeros((196, 200), np.uint16)
    for folder, link in (('auto', 'auto'), ('hard', 'hard')):
        Layout(tmp_path / folder, link).make_folders()
    Layout(tmp_path / 'auto', 'auto').write_sample(('train',), 'a', image, bits_ZX)
    assert (tmp_path / 'auto/img_dir/train/a.jpg').is_symlink()
    with pytest.raises(UserError, match=r'no hard link .* Pass --link symlink or --link copy'):
        Layout(tmp_path / 'hard', 'hard').write_sample(('train',), 'a', image, bits_ZX)


def test_previews_are_drawn_from_what_is_on_disk(run):
    out, summary = run(num_previews=1)
    (path,) = summary.previews
    picture = cv2.imread(str(path))
    assert path.parent == out / 'preview'
    assert picture.shape[1] > 1000


def test_a_wrong_source_is_named(tmp_path):
    with pytest.raises(DataNotFoundError, match=r'nowhere: no such folder'):
        prepare(Options(source=tmp_path / 'nowhere', out=tmp_path / 'out'))


def start_tool(*arguments: object) -> subprocess.Popen:
    env = os.environ | dict(PYTHONPATH=str(TOOL.parents[2]))
    command = [sys.executable, TOOL, *map(str, arguments), '--workers', '2', '--preview', '0']
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)  # fmt: skip


def test_two_workers_make_what_one_process_makes(make_root, tmp_path):
    root = make_root(('scene-0061', 'scene-0103', 'scene-0553'))
    process = start_tool(root, '--out', tmp_path / 'two')
    prepare(Options(source=root, out=tmp_path / 'one', num_workers=0, num_previews=0))
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert '3 samples made' in stdout
    assert '3/3' in stderr  # the progress bar
    files = sorted(path.relative_to(tmp_path / 'one') for path in (tmp_path / 'one').rglob('*.*'))
    assert len(files) == 8  # three images, three labels, calib.json, prepare.json
    for file in files:
        assert (tmp_path / 'one' / file).read_bytes() == (tmp_path / 'two' / file).read_bytes()


def test_a_killed_run_goes_on_where_it_stopped(make_root, tmp_path):
    scenes = tuple(f'scene-{number:04d}' for number in (61, 103, 553, 655, 757, 796, 916, 1077, 1094, 1100))
    root, out = make_root(scenes), tmp_path / 'out'
    process = start_tool(root, '--out', out, '--occlusion', 'boxes')
    labels = out / 'ann_bev_dir'
    while process.poll() is None and not list(labels.rglob('CAM*.png')):
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    whole = list(labels.rglob('CAM*.png'))
    for path in whole:
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == (196, 200)
    summary = prepare(Options(source=root, out=out, occlusion='boxes', num_workers=0, num_previews=0))
    assert (summary.made, summary.kept) == (10 - len(whole), len(whole))
    assert whole
    assert not list(out.rglob('.prepare-*'))


def test_an_error_in_a_worker_reaches_the_user_as_it_is(make_root, tmp_path):
    root = make_root()
    for path in (root / 'samples/LIDAR_TOP').iterdir():
        path.write_bytes(bytes(42))
    process = start_tool(root, '--out', tmp_path / 'out')
    _, stderr = process.communicate()
    assert process.returncode == 2
    assert stderr.rstrip().splitlines()[-1].endswith('Download it again.')
    assert 'Traceback' not in stderr


def scale_pictures(root, size) -> None:
    for path in root.rglob('*.jpg'):
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), size))


def test_pictures_that_were_scaled_on_disk_get_scaled_camera_matrices(make_root, tmp_path):
    root = make_root()
    plain = prepare(Options(source=root, out=tmp_path / 'plain'), say=lambda line: None)
    scale_pictures(root, (800, 450))
    summary = prepare(Options(source=root, out=tmp_path / 'half'), say=lambda line: None)
    assert any('2 of 2 pictures are 800x450 in the place of 1600x900' in note for note in summary.notes)
    assert not any('pictures are' in note for note in plain.notes)
    read = [json.loads((tmp_path / name / 'calib.json').read_text()) for name in ('plain', 'half')]
    for key, matrix in read[0].items():
        np.testing.assert_allclose(read[1][key], np.array(matrix) * [[0.5], [0.5], [1]])
    labels = [sorted((tmp_path / name).rglob('*.png')) for name in ('plain', 'half')]
    for one, other in zip(*labels, strict=True):
        assert np.array_equal(cv2.imread(str(one), -1), cv2.imread(str(other), -1))


def test_pictures_that_were_cut_are_refused(make_root, tmp_path):
    root = make_root()
    scale_pictures(root, (800, 800))
    with pytest.raises(DataError, match='the picture is 800x800, the tables say 1600x900: it was not scaled but cut'):
        prepare(Options(source=root, out=tmp_path / 'cut'), say=lambda line: None)


def test_a_map_expansion_before_1_3_is_refused(make_root, tmp_path):
    root = make_root()
    for path in (root / 'maps' / 'expansion').iterdir():
        path.write_text(path.read_text().replace('"version": "1.3"', '"version": "1.2"'))
    with pytest.raises(UserError, match=r'the map expansion is of version 1.2, 1.3 is needed. Download'):
        prepare(Options(source=root, out=tmp_path / 'old'), say=lambda line: None)


@pytest.mark.parametrize('size', [0, 20 * 100])
def test_an_empty_or_cut_sweep_is_refused_or_left_out_and_counted(make_root, tmp_path, size):
    scenes = ('scene-0061', 'scene-0103', 'scene-0553')
    root = make_root(scenes)
    sweep = root / 'samples' / 'LIDAR_TOP' / 'scene-0061.pcd.bin'
    sweep.write_bytes(sweep.read_bytes()[:size])
    split = tmp_path / 'split.json'
    split.write_text(json.dumps(dict(train=list(scenes[:2]), val=[scenes[2]])))
    options = Options(source=root, out=tmp_path / 'out', split_file=split, num_workers=0, num_previews=0)
    with pytest.raises(DataError, match=rf'scene-0061.pcd.bin: {size} bytes, .* empty or cut off \(1 of 3 are\)'):
        prepare(options, say=lambda text: None)
    summary = prepare(replace(options, skip_missing=True), say=lambda text: None)
    assert summary.num_images == dict(train=1, val=1)
    assert '1 samples are left out: their LiDAR sweep is empty or cut off.' in summary.notes


def test_samples_of_which_no_cell_counts_are_counted(make_root, tmp_path):
    root = make_root()
    for path in (root / 'samples' / 'LIDAR_TOP').iterdir():  # all returns lie behind the camera
        numbers = np.fromfile(path, np.float32).reshape(-1, 5)
        numbers[:, 1] = -5
        numbers.tofile(path)
    summary = prepare(Options(source=root, out=tmp_path / 'out', num_workers=0, num_previews=0), say=lambda text: None)
    assert [note for note in summary.notes if 'no cell that counts' in note]
