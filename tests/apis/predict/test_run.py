"""What is written, read back; and what happens to what is done when a prediction is interrupted."""

import csv
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmopt.apis import Predictor, evaluate, load_config
from mmopt.apis.predict.formats.writers import choose_formats
from mmopt.apis.predict.run import predict_into
from mmopt.apis.run.facts import build_dataset
from mmopt.datasets.common.predict import Result
from mmopt.datasets.detection.coco_file import read_coco
from mmopt.datasets.detection.result import DetectionResult
from mmopt.evaluation.detection.coco_scores import ImageBoxes, coco_scores
from mmopt.registry import METRICS
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError, UserError
from mmopt.utils.run_lock import hold_folder


@pytest.fixture
def pictures(detector, tmp_path) -> list[str]:
    folder = tmp_path / 'in'
    folder.mkdir()
    return [str(shutil.copy(path, folder / f'größe {number}.jpg')) for number, path in enumerate(detector.pictures[:6])]


def _metrics(trained, tmp_path, *options: str) -> dict[str, float]:
    cfg = load_config(trained.config, options=[*trained.options, *options], work_dir=str(tmp_path / 'test'))
    return evaluate(cfg, trained.checkpoint)


def _read(path: Path) -> list:
    return json.loads(path.read_text(encoding='utf-8'))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def _clipped(image) -> np.ndarray:
    height, width = image.size
    boxes_M6 = image.boxes_M6.astype(np.float64)
    boxes_M6[:, :4] = boxes_M6[:, :4].clip(0, [width, height, width, height])
    return boxes_M6


def _write_truth(detector, root: Path) -> Path:
    """Write annotations that a model with random weights meets half: every third of its boxes, moved a little."""
    path = root / 'annotations' / 'rgb_met.json'
    coco = json.loads((root / 'annotations' / 'rgb_val.json').read_text())
    coco['annotations'] = []
    results = Predictor(detector.checkpoint)(detector.pictures)
    for image, result in zip(coco['images'], results, strict=True):
        for x1, y1, x2, y2 in result.boxes[1::3].tolist():
            box = [x1 + 0.3, y1, x2 - x1 + 0.5, y2 - y1]
            identity = dict(id=len(coco['annotations']), image_id=image['id'], category_id=coco['categories'][0]['id'])
            coco['annotations'].append(dict(identity, bbox=box, area=box[2] * box[3], iscrowd=0))
    path.write_text(json.dumps(coco))
    return path


def test_metrics_of_the_written_boxes_equal_those_of_a_test(detector, tmp_path):
    root = Path(detector.options[0].partition('=')[2])
    met = _write_truth(detector, root)
    expected = _metrics(detector, tmp_path, f'data.test.ann_file=annotations/{met.name}')
    out = tmp_path / 'out'
    predict_into(Predictor(detector.checkpoint), detector.pictures, out, formats=['coco', 'csv', 'json'])
    truth = {Path(image.name).name: image for image in read_coco(met).images}
    ways: dict[str, dict[str, list]] = {name: {Path(path).name: [] for path in detector.pictures} for name in 'abc'}
    for entry in _read(out / 'coco_results.json'):
        x, y, width, height = entry['bbox']
        found = ([x, y, x + width, y + height], entry['score'], entry['category_id'] - 1)
        ways['a'][Path(entry['file_name']).name].append(found)
    for row in _rows(out / 'boxes.csv'):
        box = [float(row[key]) for key in ('x1', 'y1', 'x2', 'y2')]
        ways['b'][Path(row['file']).name].append((box, float(row['score']), int(row['label'])))
    for entry in _read(out / 'results.json'):
        found = list(zip(entry['boxes'], entry['scores'], entry['labels'], strict=True))
        ways['c'][Path(entry['file']).name] = found
    assert 0.1 < expected['mAP50'] < 0.9
    for way in ways.values():
        images = []
        for name, found in way.items():
            boxes, scores, labels = zip(*found, strict=True)
            images.append(
                ImageBoxes(
                    boxes_N4=np.array(boxes), scores_N=np.array(scores), labels_N=np.array(labels),
                    truth_M6=_clipped(truth[name]), size=truth[name].size,
                )
            )  # fmt: skip
        scores_of = coco_scores(images, ['drone'])
        assert {key: expected[key] for key in scores_of if key in expected} == pytest.approx(scores_of, abs=1e-6)


def test_metrics_of_the_written_labels_equal_those_of_a_test(segmentor, tmp_path):
    expected = _metrics(segmentor, tmp_path)
    out = tmp_path / 'out'
    done = predict_into(Predictor(segmentor.checkpoint), segmentor.pictures, out)
    assert done.num_new == len(segmentor.pictures)
    cfg = load_config(segmentor.config, options=segmentor.options)
    dataset = build_dataset(cfg, 'test_dataloader')
    metric = METRICS.build(dict(cfg.test_evaluator['metrics'][0]))
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        sample: DataSample = dataset[index]['data_samples']
        label = cv2.imread(str(out / 'labels' / f'{Path(sample.img_path).stem}.png'), cv2.IMREAD_UNCHANGED)
        assert label.dtype == np.uint8
        sample.pred_label = torch.from_numpy(label)
        metric.process(None, [sample])
    measured = metric.evaluate(len(dataset))
    assert expected['mIoU'] > 0
    assert {key: measured[key] for key in expected} == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_every_file_of_segmentation_is_read_back(segmentor, tmp_path):
    predictor = Predictor(segmentor.checkpoint)
    predict_into(predictor, segmentor.pictures[:2], tmp_path)
    name = Path(segmentor.pictures[0]).stem
    label = cv2.imread(str(tmp_path / 'labels' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
    color = cv2.imread(str(tmp_path / 'colors' / f'{name}.png'))[..., ::-1]
    palette = np.array(predictor.dataset.metainfo['palette'], np.uint8)
    assert np.array_equal(color, palette[label])
    assert cv2.imread(str(tmp_path / 'pictures' / f'{name}.png')).shape == (64, 96, 3)
    rows = [row for row in _rows(tmp_path / 'areas.csv') if row['file'] == segmentor.pictures[0]]
    assert {row['class']: int(row['pixels']) for row in rows} == {
        class_name: int((label == number).sum()) for number, class_name in enumerate(predictor.classes)
    }
    assert sum(float(row['share']) for row in rows) == pytest.approx(1)


def test_yolo_lines_are_shares_of_the_picture(detector, pictures, tmp_path):
    predictor = Predictor(detector.checkpoint)
    predict_into(predictor, pictures[:1], tmp_path / 'out', formats=['yolo'])
    (result,) = predictor(pictures[:1])
    values = np.loadtxt(tmp_path / 'out' / 'labels' / 'größe 0.txt')
    assert values[:, 0].tolist() == result.labels.tolist()
    center, sides = values[:, 1:3] * [160, 90], values[:, 3:5] * [160, 90]
    assert np.allclose(np.hstack([center - sides / 2, center + sides / 2]), result.boxes, atol=1e-5)
    assert np.allclose(values[:, 5], result.scores, atol=1e-7)


def test_weaker_boxes_are_left_out(detector, pictures, tmp_path):
    (result,) = Predictor(detector.checkpoint)(pictures[:1])
    confidence = float(np.median(result.scores))
    predict_into(Predictor(detector.checkpoint), pictures[:1], tmp_path / 'out', formats=['csv'], confidence=confidence)
    assert len(_rows(tmp_path / 'out' / 'boxes.csv')) == (result.scores >= confidence).sum() < len(result.scores)
    with pytest.raises(UserError, match='--conf must be between 0 and 1'):
        predict_into(Predictor(detector.checkpoint), pictures, tmp_path / 'other', confidence=25.0)


def _files(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}
    del found['predictions.json']
    return found


class _Stopped(Exception):
    pass


def _stop_after(predictor: Predictor, num_batches: int, log: list[str]) -> None:
    """Let a predictor note what it predicts, and fail behind so many batches."""
    predict = predictor.predict_batches

    def limited(batches, **kwargs):
        for number, batch in enumerate(predict(batches, **kwargs)):
            if number == num_batches:
                raise _Stopped
            log.extend(item.file for item, _ in batch)
            yield batch

    predictor.predict_batches = limited


def test_an_interrupted_prediction_goes_on_and_ends_with_the_same_files(detector, pictures, tmp_path):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    predict_into(Predictor(detector.checkpoint, batch_size=2), pictures, whole)
    predictor, log = Predictor(detector.checkpoint, batch_size=2), []
    _stop_after(predictor, 2, log)
    with pytest.raises(_Stopped):
        predict_into(predictor, pictures, parts)
    assert not _read(parts / 'predictions.json')['complete']
    with (parts / 'records.jsonl').open('ab') as file:
        file.write(b'{"file": "cut o')  # a line that a kill cut off
    again, log_again = Predictor(detector.checkpoint, batch_size=2), []
    _stop_after(again, 99, log_again)
    done = predict_into(again, pictures, parts)
    assert (done.num_before, done.num_new) == (4, 2)
    assert log == pictures[:4]
    assert log_again == pictures[4:]
    assert _files(parts) == _files(whole)


def test_only_what_changed_is_predicted_again(detector, pictures, tmp_path):
    predictor = Predictor(detector.checkpoint, batch_size=1)
    predict_into(predictor, pictures, tmp_path / 'out')
    assert predict_into(predictor, pictures, tmp_path / 'out').num_new == 0
    shutil.copy(detector.pictures[7], pictures[0])
    (tmp_path / 'out' / 'pictures' / 'größe 3.png').unlink()
    assert predict_into(predictor, pictures, tmp_path / 'out').num_new == 2
    # What is made of the records needs no prediction.
    assert predict_into(predictor, pictures, tmp_path / 'out', formats=['csv']).num_new == 0


def test_the_folder_of_another_model_is_refused(detector, pictures, tmp_path):
    out = tmp_path / 'out'
    predict_into(Predictor(detector.checkpoint), pictures[:1], out, formats=['csv'])
    with pytest.raises(UserError, match=r'another confidence \(None, now 0.5\)'):
        predict_into(Predictor(detector.checkpoint), pictures[:1], out, confidence=0.5)
    options = [*detector.options, 'model.nms_iou=0.3']
    with pytest.raises(UserError, match='predictions of another config'):
        predict_into(Predictor(detector.config, detector.checkpoint, options=options), pictures[:1], out)


def test_broken_pictures_are_skipped_and_listed(detector, pictures, tmp_path, capsys):
    Path(pictures[1]).write_bytes(Path(pictures[1]).read_bytes()[:500])
    Path(pictures[4]).write_bytes(b'')
    listed = tmp_path / 'list.txt'
    listed.write_text('\n'.join([*pictures, 'gone.png']), encoding='utf-8')
    done = predict_into(Predictor(detector.checkpoint, batch_size=2), [str(listed)], tmp_path / 'out')
    assert (done.num_new, [file for file, _ in done.skipped]) == (
        4,
        [pictures[1], pictures[4], str(tmp_path / 'gone.png')],
    )
    manifest = _read(tmp_path / 'out' / 'predictions.json')
    assert manifest['complete']
    assert manifest['num_predicted'] == 4
    assert [entry['file'] for entry in manifest['skipped']] == [file for file, _ in done.skipped]
    assert [entry['reason'].partition(': ')[2][:12] for entry in manifest['skipped']] == [
        'the file is ', 'the file is ', 'no such file'
    ]  # fmt: skip
    assert capsys.readouterr().err.count('skipped: ') == 3
    # Mended, it is predicted with the next call.
    shutil.copy(detector.pictures[1], pictures[1])
    assert predict_into(Predictor(detector.checkpoint, batch_size=2), [str(listed)], tmp_path / 'out').num_new == 1
    with pytest.raises((DataError, OSError), match='the file is empty'):
        predict_into(Predictor(detector.checkpoint), pictures[4:], tmp_path / 'strict', strict=True)


def test_pictures_of_16_bits_and_gray_ones_are_predicted(detector, tmp_path):
    gray = np.random.default_rng(0).integers(0, 65536, (50, 70), dtype=np.uint16)
    for name, image in dict(deep=gray, gray=(gray >> 8).astype(np.uint8)).items():
        cv2.imwrite(str(tmp_path / f'{name}.png'), image)
    predict_into(Predictor(detector.checkpoint), [str(tmp_path / '*.png')], tmp_path / 'out', formats=['json'])
    deep, flat = _read(tmp_path / 'out' / 'results.json')
    assert deep['size'] == [50, 70]
    assert deep['boxes'] == flat['boxes']


def test_the_output_may_lie_inside_of_the_source(detector, pictures, tmp_path):
    folder = str(Path(pictures[0]).parent)
    for _ in range(2):
        done = predict_into(Predictor(detector.checkpoint), [folder], os.path.join(folder, 'found'))
        assert done.num_new + done.num_before == len(pictures)


def test_the_manifest_says_with_what_and_from_what(detector, pictures, tmp_path):
    predict_into(Predictor(detector.checkpoint, precision='fp32'), pictures[:1], tmp_path / 'out', formats=['csv'])
    manifest = _read(tmp_path / 'out' / 'predictions.json')
    assert manifest['model'] == 'AnchorDetector'
    assert (manifest['precision'], manifest['sources'], manifest['skipped']) == ('fp32', pictures[:1], [])
    assert manifest['classes'] == ['drone']
    assert {'mmopt', 'torch', 'numpy'} <= manifest['versions'].keys()


def test_one_process_at_a_time_predicts_into_a_folder(detector, pictures, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    match = f'process {os.getpid()} on .* predicts into this folder'
    with hold_folder(out), pytest.raises(UserError, match=match):
        predict_into(Predictor(detector.checkpoint), pictures, out)


def test_an_unknown_format_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match='--format npz: detection has json, coco, csv, yolo, png, mp4'):
        choose_formats(DetectionResult, ['csv', 'npz'])
    assert choose_formats(type('Another', (Result,), dict(task='another')), None) == ['json']


def test_probabilities_are_written_on_request(segmentor, tmp_path):
    predictor = Predictor(segmentor.checkpoint)
    predict_into(predictor, segmentor.pictures[:2], tmp_path)
    assert not (tmp_path / 'probabilities').exists()
    predict_into(predictor, segmentor.pictures[:2], tmp_path, formats=['npz', 'png'])
    name = Path(segmentor.pictures[0]).stem
    with np.load(tmp_path / 'probabilities' / f'{name}.npz') as arrays:
        probabilities_KHW, classes = arrays['probabilities'], arrays['classes'].tolist()
    label = cv2.imread(str(tmp_path / 'labels' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
    assert tuple(classes) == predictor.classes
    assert probabilities_KHW.shape == (len(classes), 64, 96)
    assert np.allclose(probabilities_KHW.astype(np.float32).sum(axis=0), 1, atol=5e-3)
    # Halves round, so that nearly equal probabilities may change places.
    best = np.take_along_axis(probabilities_KHW, label[None].astype(np.int64), axis=0)[0]
    assert (best >= probabilities_KHW.max(axis=0) - np.float16(1e-3)).all()


def test_every_nth_picture_is_drawn(segmentor, tmp_path):
    predict_into(Predictor(segmentor.checkpoint), segmentor.pictures, tmp_path, show_every=3)
    stems = [Path(path).stem for path in segmentor.pictures]
    assert sorted(path.stem for path in (tmp_path / 'pictures').iterdir()) == sorted(stems[::3])
    assert sorted(path.stem for path in (tmp_path / 'labels').iterdir()) == sorted(stems)


def test_overwriting_removes_what_was_predicted_and_nothing_else(detector, pictures, tmp_path):
    out = tmp_path / 'out'
    predict_into(Predictor(detector.checkpoint), pictures, out)
    (out / 'labels' / 'mine.txt').write_text('mine')
    predict_into(Predictor(detector.checkpoint), pictures[:1], out, formats=['yolo'], confidence=0.3, overwrite=True)
    assert sorted(path.name for path in (out / 'labels').iterdir()) == ['größe 0.txt', 'mine.txt']
    assert not list((out / 'pictures').iterdir())
    assert len((out / 'records.jsonl').read_bytes().splitlines()) == 1
