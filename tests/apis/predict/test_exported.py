"""Files of tools/export.py predict what the checkpoint predicts, and say in one line why they cannot."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmopt.apis import Predictor, load_config
from mmopt.apis.export.complete import export_complete
from mmopt.apis.predict.exported.model import ExportedModel
from mmopt.apis.predict.run import predict_into
from mmopt.utils.errors import UserError
from tests.apis.predict.trained_recordings import make_actions, make_behaviors, make_maps
from tests.conftest import REPO, forget_mmengine_globals

onnx = pytest.importorskip('onnx', reason="needs pip install -e '.[export]'")
pytest.importorskip('onnxruntime', reason="needs pip install -e '.[export]'")


def _export(trained, out: Path) -> Path:
    cfg = load_config(trained.config, options=trained.options)
    export_complete(cfg, trained.checkpoint, out)
    forget_mmengine_globals()
    return out


@pytest.fixture(scope='module')
def exported(detector, tmp_path_factory) -> Path:
    return _export(detector, tmp_path_factory.mktemp('exported') / 'model.onnx')


def _pairs(results, others):
    """Match boxes by the nearest one of the other side, class and score included."""
    for result, other in zip(results, others, strict=True):
        assert len(result.boxes) == len(other.boxes) > 0
        rows, other_rows = (
            np.column_stack([side.boxes, 1e3 * side.scores, 1e6 * side.labels]) for side in (result, other)
        )
        nearest = np.abs(rows[:, None] - other_rows[None]).max(axis=2).argmin(axis=1)
        assert len(set(nearest.tolist())) == len(rows)
        yield result, other, nearest


def check_boxes(trained, file: Path) -> None:
    results, others = (
        Predictor(trained.checkpoint, precision='fp32')(trained.pictures),
        Predictor(file)(trained.pictures),
    )
    for result, other, nearest in _pairs(results, others):
        assert np.abs(result.boxes - other.boxes[nearest]).max() < 0.5
        assert np.abs(result.scores - other.scores[nearest]).max() < 1e-3
        assert result.labels.tolist() == other.labels[nearest].tolist()
        assert result.size == other.size


def test_boxes_of_the_file_equal_those_of_the_checkpoint(detector, exported):
    check_boxes(detector, exported)


@pytest.mark.slow
def test_boxes_of_torchs_archive_equal_those_of_the_checkpoint(detector, tmp_path):
    check_boxes(detector, _export(detector, tmp_path / 'model.pt2'))


@pytest.mark.slow
@pytest.mark.parametrize('suffix', ['.onnx', '.pt2'])
def test_labels_of_the_file_equal_those_of_the_checkpoint(segmentor, tmp_path, suffix):
    file = _export(segmentor, tmp_path / f'model{suffix}')
    large = tmp_path / 'large.png'
    cv2.imwrite(str(large), cv2.resize(cv2.imread(segmentor.pictures[0]), (128, 96)))
    # In torch's archive the size of the pictures is not open.
    pictures = [*segmentor.pictures, str(large)] if suffix == '.onnx' else segmentor.pictures
    options = dict(precision='fp32', batch_size=1)
    for result, other in zip(
        Predictor(segmentor.checkpoint, **options)(pictures), Predictor(file, batch_size=3)(pictures), strict=True
    ):
        assert result.label.dtype == other.label.dtype == np.uint8
        assert (result.label != other.label).mean() < 1e-3
        assert result.classes == other.classes


def _assert_close(one, other) -> int:
    """Compare nested plain values; return how many numbers with a fraction there were."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return sum(_assert_close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        assert len(one) == len(other)
        return sum(map(_assert_close, one, other))
    if isinstance(one, int | float):
        # Of thousands of cells one may lie next to the threshold; numbers of classes and frames are below a thousand.
        assert one == pytest.approx(other, rel=1e-3, abs=1e-3)
    else:
        assert one == other
    return isinstance(one, float)


@pytest.mark.slow
@pytest.mark.parametrize('make', [make_behaviors, make_actions, make_maps])
@pytest.mark.parametrize('suffix', ['.onnx', '.pt2'])
def test_recordings_and_maps_of_the_file_equal_those_of_the_checkpoint(make, suffix, tmp_path):
    trained = make(tmp_path)
    file = _export(trained, tmp_path / f'model{suffix}')
    results = list(Predictor(trained.checkpoint, precision='fp32')(trained.pictures[:2]))
    others = list(Predictor(file)(trained.pictures[:2]))
    assert len(results) == len(others) > 0
    assert sum(_assert_close(one.to_json(), other.to_json()) for one, other in zip(results, others, strict=True)) > 4


def test_the_tool_writes_the_same_files_for_a_graph(detector, exported, tmp_path):
    shutil.copy(exported, tmp_path / 'alone.onnx')  # nothing else is needed
    done = predict_into(Predictor(tmp_path / 'alone.onnx'), detector.pictures[:3], tmp_path / 'out')
    assert done.num_new == 3
    manifest = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert (manifest['model'], manifest['precision'], manifest['classes']) == ('AnchorDetector', 'fp32', ['drone'])
    assert len(list((tmp_path / 'out' / 'pictures').iterdir())) == 3


def test_a_last_batch_that_is_smaller_is_predicted(detector, exported):
    results = list(Predictor(exported, batch_size=3)(detector.pictures[:4]))
    alone = list(Predictor(exported, batch_size=1)(detector.pictures[:4]))
    for result, other in zip(results, alone, strict=True):
        np.testing.assert_allclose(result.boxes, other.boxes, atol=1e-3)


def test_the_example_of_the_docs_runs_without_mmopt_and_finds_the_same(
    detector, exported, tmp_path, monkeypatch, capsys
):
    text = (REPO / 'docs' / 'export.md').read_text(encoding='utf-8')
    (code,) = re.findall(r'```python\n(.*?)```', text, flags=re.S)
    assert 'mmopt' not in re.findall(r'^(?:import|from) (\w+)', code, flags=re.M)
    shutil.copy(exported, tmp_path / 'model.onnx')
    shutil.copy(detector.pictures[0], tmp_path / 'street.png')
    monkeypatch.chdir(tmp_path)
    exec(compile(code, 'docs/export.md', 'exec'), {})
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (result,) = Predictor(detector.checkpoint, precision='fp32')([tmp_path / 'street.png'])
    assert len(rows) == len(result.boxes)
    found = np.array([[float(value) for value in row[1:]] for row in rows])
    height, width = result.size
    found[:, 1:] = found[:, 1:].clip(0, [width, height, width, height])
    for box, score in zip(result.boxes, result.scores, strict=True):
        nearest = np.abs(found - [score, *box]).max(axis=1).argmin()
        assert np.abs(found[nearest, 1:] - box).max() < 0.5
        assert abs(found[nearest, 0] - score) < 1e-3
    assert {row[0] for row in rows} == {'drone'}


def _with(exported: Path, out: Path, change) -> Path:
    model = onnx.load(str(exported))
    change(model)
    onnx.save(model, str(out))
    return out


def _facts(model) -> dict:
    return json.loads({entry.key: entry.value for entry in model.metadata_props}['mmopt'])


def _changed_facts(**changes):
    return lambda model: onnx.helper.set_model_props(model, {'mmopt': json.dumps(_facts(model) | changes)})


CHANGES = dict(
    metadata=(lambda model: model.ClearField('metadata_props'), 'has no metadata of mmopt'),
    broken=(lambda model: onnx.helper.set_model_props(model, {'mmopt': '{"a'}), 'metadata cannot be read'),
    raw=(lambda model: onnx.helper.set_model_props(model, {'mmopt': '{"classes": ["a"]}'}), 'holds the bare network'),
    newer=(_changed_facts(format=99, mmopt='9.9'), 'made by mmopt 9.9, which is newer than this one'),
    other=(_changed_facts(inputs=dict(clips=dict(shape=[1], source='inputs'))), 'its metadata describes another graph'),
    no_pipeline=(_changed_facts(predict={}), 'holds no pipeline'),
    opset=(lambda model: setattr(model.opset_import[0], 'version', 999), 'newer than onnxruntime .* can read'),
)


@pytest.mark.parametrize('name', CHANGES)
def test_a_file_that_cannot_be_used_says_why_in_one_line(exported, tmp_path, name):
    change, match = CHANGES[name]
    with pytest.raises(UserError, match=match) as caught:
        Predictor(_with(exported, tmp_path / 'm.onnx', change))
    assert '\n' not in str(caught.value)
    assert 'm.onnx' in str(caught.value)


@pytest.mark.parametrize('suffix', ['.onnx', '.pt2'])
def test_a_file_of_another_kind_says_so(tmp_path, suffix):
    (tmp_path / f'm{suffix}').write_bytes(b'no graph at all')
    with pytest.raises(UserError, match='is no (ONNX file|archive of torch.export) that .* can read') as caught:
        Predictor(tmp_path / f'm{suffix}')
    assert '\n' not in str(caught.value)
    with pytest.raises(UserError, match='gone'):
        Predictor(tmp_path / f'gone{suffix}')


def test_torchs_archive_of_another_says_that_it_has_no_metadata(tmp_path):
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, str(tmp_path / 'm.pt2'))
    with pytest.raises(UserError, match='has no metadata of mmopt'):
        Predictor(tmp_path / 'm.pt2')


def test_missing_onnxruntime_says_what_to_install(exported, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'onnxruntime', None)
    with pytest.raises(UserError, match='needs onnxruntime, which is not installed: pip install'):
        ExportedModel(exported)


def test_what_a_graph_cannot_do_is_refused(detector, exported):
    with pytest.raises(UserError, match='knows its pipeline: name it without a config'):
        Predictor(detector.config, exported)
    with pytest.raises(UserError, match='an exported graph computes in fp32'):
        Predictor(exported, precision='fp16')
    with pytest.raises(UserError, match='computes what it was exported with: tools/export.py --tta'):
        Predictor(exported, tta=True)
    with pytest.raises(UserError, match='an exported graph runs on cpu or cuda'):
        Predictor(exported, device='mps')


def test_inputs_of_another_size_say_which_fit(exported):
    model = ExportedModel(exported)
    with pytest.raises(UserError, match=r'takes inputs of batchx3x192x320, these are 1x3x64x64: resize the pictures'):
        model.test_step(dict(inputs=[torch.zeros(3, 64, 64, dtype=torch.uint8)], data_samples=[None]))
