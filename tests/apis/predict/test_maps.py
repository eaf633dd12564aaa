"""Maps of the ground ahead: pictures and their camera matrices, and what is written, read back."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmopt.apis import evaluate, load_config
from mmopt.apis.run.facts import build_dataset
from mmopt.datasets.common import decode_file
from mmopt.evaluation import BEVIoU
from mmopt.ops.bev_labels import IGNORE_BIT
from mmopt.utils.errors import DataError, UserError
from tests.apis.predict.trained import Trained
from tests.apis.predict.trained_recordings import make_maps, predict, read_json, read_rows, write_into
from tests.datasets.bev.prepare.conftest import K, make_root  # noqa: F401 - a fixture


@pytest.fixture(scope='module')
def maps(tmp_path_factory) -> Trained:
    return make_maps(tmp_path_factory.mktemp('maps'))


@pytest.fixture(scope='module')
def predictor(maps):
    return predict(maps)


@pytest.fixture(scope='module')
def matrix(maps) -> np.ndarray:
    calib = Path(maps.pictures[0]).parents[2] / 'calib.json'
    return np.array(read_json(calib)[Path(maps.pictures[0]).stem])


@pytest.fixture
def pictures(maps, tmp_path) -> Path:
    """Pictures that nothing beside them describes."""
    folder = tmp_path / 'straße [1]'
    folder.mkdir()
    for number, path in enumerate(maps.pictures):
        shutil.copy(path, folder / f'bild {number}.2.jpg')
    return folder


def said(matrix) -> str:
    return ','.join(str(value) for value in (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]))


def first(predictor, source):
    (result,) = predictor(source)
    return result


def test_metrics_of_the_written_labels_equal_those_of_a_test(maps, predictor, tmp_path):
    cfg = load_config(maps.config, options=maps.options, work_dir=str(tmp_path / 'test'))
    expected = evaluate(cfg, maps.checkpoint)
    write_into(predictor, maps.pictures, tmp_path / 'out', formats=['png', 'npz'])
    dataset = build_dataset(load_config(maps.config, options=maps.options), 'test_dataloader')
    ways = {}
    for way in ('png', 'npz'):
        metric = BEVIoU()
        for index in range(len(dataset)):
            sample = dataset[index]['data_samples']
            name = Path(sample.img_path).stem
            if way == 'png':
                bits = cv2.imread(str(tmp_path / 'out' / 'labels' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
                assert (bits.dtype, bits.shape) == (np.uint16, (196, 200))
                assert not (bits >> IGNORE_BIT).any()
            else:
                with np.load(tmp_path / 'out' / 'probabilities' / f'{name}.npz') as arrays:
                    assert arrays['classes'].tolist() == list(dataset.metainfo['classes'])
                    found = arrays['probabilities'] > 0.5
                bits = (found * (1 << np.arange(14))[:, None, None]).sum(axis=0)
            sample.pred_bits = torch.from_numpy(bits.astype(np.int32))
            metric.process({}, [sample])
        ways[way] = metric.evaluate(len(dataset))
    assert expected['mIoU'] > 0
    assert {key: ways['png'][key] for key in expected} == pytest.approx(expected, abs=1e-6)
    # float16 moves a probability next to one half over it.
    assert {key: ways['npz'][key] for key in expected} == pytest.approx(expected, abs=1e-3)


def test_every_way_to_say_the_camera_matrix_gives_the_same(maps, predictor, matrix, pictures, tmp_path):
    expected = first(predictor, maps.pictures[0])  # from the calib.json two folders above
    assert len(np.unique(expected.bits)) > 2
    picture = pictures / 'bild 0.2.jpg'
    calib = tmp_path / 'matrices.json'
    for options in (
        dict(intrinsics=said(matrix)),
        dict(intrinsics=matrix),
        dict(intrinsics=said(matrix * 5), intrinsics_size='1600x900'),
        dict(calib=calib),
    ):
        calib.write_text(json.dumps({'bild 0.2': matrix.tolist()}))
        assert np.array_equal(first(predict(maps, **options), picture).bits, expected.bits)
    (pictures / 'calib.json').write_text(json.dumps({'bild 0.2.jpg': matrix.tolist()}))
    assert np.array_equal(first(predictor, picture).bits, expected.bits)
    array = np.ascontiguousarray(decode_file(picture, cv2.IMREAD_COLOR)[..., ::-1])
    assert np.array_equal(first(predict(maps, intrinsics=said(matrix)), array).bits, expected.bits)


def test_a_picture_of_another_size_has_its_own_matrix(maps, predictor, matrix, tmp_path):
    """The same view with twice the pixels: the network sees nearly the same."""
    expected = first(predictor, maps.pictures[0])
    image = cv2.resize(decode_file(maps.pictures[0], cv2.IMREAD_COLOR), (640, 360), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / 'large.png'), image)
    large = first(predict(maps, intrinsics=said(matrix * 2)), tmp_path / 'large.png')
    scaled = first(predict(maps, intrinsics=said(matrix), intrinsics_size='320x180'), tmp_path / 'large.png')
    assert large.size == (360, 640)
    assert np.allclose(large.intrinsics, np.diag([2, 2, 1]) @ matrix, atol=1e-3)
    assert np.array_equal(large.bits, scaled.bits)
    wrong = first(predict(maps, intrinsics=said(matrix)), tmp_path / 'large.png')
    agreement = (large.bits == expected.bits).mean()
    assert agreement > 0.8
    assert agreement > (wrong.bits == expected.bits).mean() + 0.2


def test_a_nuscenes_folder_gives_its_key_frames_with_their_matrices(maps, make_root):  # noqa: F811 - the fixture
    root = make_root()
    predictor = predict(maps)
    items = predictor.list_items([str(root)])
    assert [Path(item.source).relative_to(root).as_posix() for item in items] == [
        'samples/CAM_FRONT/scene-0061.jpg', 'samples/CAM_FRONT/scene-0103.jpg'
    ]  # fmt: skip
    assert first(predictor, items[0].source).intrinsics.tolist() == K
    back = predict(maps, camera='CAM_BACK')
    assert [Path(item.source).parent.name for item in back.list_items([root])] == ['CAM_BACK'] * 2
    with pytest.raises(UserError, match='--camera CAM_TOP: .* has CAM_BACK, CAM_FRONT'):
        predict(maps, camera='CAM_TOP').list_items([str(root)])
    with pytest.raises(DataError, match='not a key frame of CAM_FRONT in the tables of'):
        first(predictor, str(root / 'samples' / 'CAM_BACK' / 'scene-0061.jpg'))
    # Pictures that were scaled on disk have scaled matrices.
    picture = root / 'samples' / 'CAM_FRONT' / 'scene-0061.jpg'
    cv2.imwrite(str(picture), np.zeros((450, 800, 3), np.uint8))
    assert np.allclose(first(predict(maps), str(picture)).intrinsics, np.diag([0.5, 0.5, 1]) @ np.array(K))


def test_a_key_frame_gives_its_cameras_with_their_matrices(maps, tmp_path):
    cameras = {}
    for number, name in enumerate(('CAM_FRONT', 'CAM_BACK')):
        cv2.imwrite(str(tmp_path / f'{name}.jpg'), np.full((450, 800, 3), 90, np.uint8))
        matrix = np.array(K) + np.diag([number, number, 0])
        cameras[name] = dict(file=f'{name}.jpg', width=1600, height=900, cam2img=matrix.tolist())
    cv2.imwrite(str(tmp_path / 'drivable.png'), np.zeros((9, 9), np.uint8))
    (tmp_path / 'keyframe.json').write_text(json.dumps(dict(cameras=cameras)))
    predictor = predict(maps)
    assert [item.name for item in predictor.list_items([str(tmp_path)])] == ['CAM_FRONT', 'CAM_BACK']
    front, back = predictor([str(tmp_path)])
    assert (front.intrinsics[0, 0], back.intrinsics[0, 0]) == (400, 400.5)
    (only,) = predict(maps, camera='CAM_BACK')(str(tmp_path))
    assert np.array_equal(only.bits, back.bits)
    del cameras['CAM_BACK']['cam2img']
    (tmp_path / 'keyframe.json').write_text(json.dumps(dict(cameras=cameras)))
    with pytest.raises(DataError, match='each camera needs file, width, height and cam2img'):
        predict(maps).list_items([str(tmp_path)])


def test_cells_in_view_lie_between_the_rays_of_the_picture_s_edges(maps, predictor, matrix):
    in_view = first(predictor, maps.pictures[0]).in_view()
    for row in (0, 40, 195):
        z = 1 + 0.25 * row
        left, right = ((edge - matrix[0, 2]) / matrix[0, 0] * z for edge in (0, 320))
        expected = [left <= -25 + 0.25 * column < right for column in range(200)]
        assert in_view[row].tolist() == expected


def test_every_file_is_read_back(maps, predictor, tmp_path):
    out = tmp_path / 'out'
    done = write_into(predictor, maps.pictures[:1], out)
    assert not (out / 'probabilities').exists()  # on request
    assert done.num_new == 1
    result, name = first(predictor, maps.pictures[0]), Path(maps.pictures[0]).stem
    rows = read_rows(out / 'areas.csv')
    assert [row['class'] for row in rows] == list(result.classes)
    for row, map_ZX in zip(rows, result.maps & result.in_view(), strict=True):
        assert int(row['cells']) == map_ZX.sum()
        assert float(row['square_meters']) == map_ZX.sum() / 16
    (found,) = read_json(out / 'results.json')
    assert found['size'] == [180, 320]
    assert found['areas_m2'] == result.areas_m2()
    label = cv2.imread(str(out / 'labels' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(label, result.bits)
    drawn = cv2.imread(str(out / 'pictures' / f'{name}.png'))
    # Camera and map side by side, of the map's height: 196 cells of 3 pixels.
    assert drawn.shape[0] > 588
    assert drawn.shape[1] > 600 + 588 * 16 / 9


def test_a_wrong_matrix_is_one_line(maps, predictor, matrix, pictures, tmp_path):
    picture = str(pictures / 'bild 0.2.jpg')
    calib = tmp_path / 'matrices.json'
    calib.write_text('{"other": [[1, 0, 1], [0, 1, 1], [0, 0, 1]], "bild 0.2": [[0, 0, 1], [0, 1, 1], [0, 0, 1]]}')
    (tmp_path / 'list.json').write_text('[1]')
    cases = [
        ({}, UserError, 'nothing says its camera matrix. Say --intrinsics fx,fy,cx,cy, or put a calib.json'),
        (dict(intrinsics='1,2,3'), UserError, '--intrinsics must be fx,fy,cx,cy in pixels'),
        (dict(intrinsics='0,1,2,3'), UserError, 'with fx and fy more than 0'),
        (dict(intrinsics=said(matrix), intrinsics_size='big'), UserError, '--intrinsics-size must be WIDTHxHEIGHT'),
        (dict(intrinsics=said(matrix), intrinsics_size='320x320'), DataError, 'it was not scaled but cut or turned'),
        (dict(intrinsics='1266,1266,816,491'), DataError, 'outside of the picture of 320x180. Say of which size'),
        (dict(intrinsics=said(matrix), calib=calib), UserError, '--intrinsics and --calib exclude each other'),
        (dict(calib=tmp_path / 'none.json'), UserError, r'--calib .*none.json: there is no such file'),
        (dict(calib=tmp_path / 'list.json'), DataError, 'must map names of pictures to 3x3 matrices, is a list'),
        (dict(calib=calib), DataError, 'bild 0.2 must have a 3x3 matrix of focal lengths > 0'),
        (dict(fps=3), UserError, '--fps: sources of NuScenesBEVDataset take --intrinsics'),
    ]
    for options, kind, match in cases:
        with pytest.raises(kind, match=match) as caught:
            list(predict(maps, **options)(picture))
        assert '\n' not in str(caught.value)
    with pytest.raises(DataError, match='has no camera matrix of it'):
        list(predict(maps, calib=calib)(str(pictures / 'bild 1.2.jpg')))


def test_a_confidence_without_effect_is_refused(maps, predictor, tmp_path):
    with pytest.raises(UserError, match="--conf 0.5: nothing of bird's-eye-view segmentation is left out"):
        write_into(predictor, maps.pictures, tmp_path / 'out', confidence=0.5)


def test_a_matrix_far_off_the_middle_is_said_once(maps, matrix, pictures, caplog):
    list(predict(maps, intrinsics=f'250,250,{0.7 * 320},90')(str(pictures)))
    assert caplog.text.count('far from the middle of 320x180: a matrix of another size needs') == 1


def test_pictures_without_a_matrix_are_skipped_and_the_same_command_goes_on(maps, matrix, pictures, tmp_path):
    out, calib = tmp_path / 'out', pictures / 'calib.json'
    names = [f'bild {number}.2' for number in range(3)]
    calib.write_text(json.dumps({name: matrix.tolist() for name in names[:2]}))
    (pictures / 'broken.png').write_bytes(b'')
    done = write_into(predict(maps), [str(pictures)], out)
    assert done.num_new == 2
    assert [Path(file).name for file, _ in done.skipped] == ['bild 2.2.jpg', 'broken.png']
    calib.write_text(json.dumps({name: matrix.tolist() for name in names}))
    done = write_into(predict(maps), [str(pictures)], out)
    assert (done.num_before, done.num_new, len(done.skipped)) == (2, 1, 1)
    whole = tmp_path / 'whole'
    write_into(predict(maps), [str(pictures)], whole)
    for path in whole.rglob('*'):
        if path.is_file() and path.name not in ('predictions.json', 'records.jsonl'):
            assert path.read_bytes() == (out / path.relative_to(whole)).read_bytes()
    with pytest.raises(DataError, match='the file is empty'):
        write_into(predict(maps), [str(pictures / 'broken.png')], tmp_path / 'strict', strict=True)


def test_results_have_what_their_names_say(maps, predictor):
    result = first(predictor, maps.pictures[0])
    assert result.maps.shape == (14, 196, 200)
    assert result.cells()['car'] == (result.maps[4] & result.in_view()).sum()
    assert json.loads(json.dumps(result.to_json()))['size'] == [180, 320]
    keeping = predict(maps)
    keeping.ask_for('keep_probabilities')
    probabilities = first(keeping, maps.pictures[0]).probabilities
    assert ((probabilities > 0.5) == result.maps).mean() > 0.999
