"""Exported graphs give what the model gives, for each of the five tasks."""

import copy
import errno
import json

import pytest
import torch
from torch import nn

from mmopt.apis.export import export as module
from mmopt.apis.export.export import export_graph, export_model
from mmopt.apis.export.formats import tracing
from mmopt.config import lower
from mmopt.registry import MODELS
from mmopt.utils.errors import UserError


def _segmentation() -> tuple:
    from tests.models.segmentation.conftest import build

    return build(), torch.randn(1, 3, 64, 96), None


def _segmentation_points() -> tuple:
    from tests.models.segmentation.conftest import POINTS, build

    return build(point_head=POINTS), torch.randn(1, 3, 64, 96), None


def _tad(version: int) -> tuple:
    from tests.models.tad.conftest import build_v6, build_v7

    inputs = dict(features=torch.randn(2, 200, 12), valid=torch.ones(2, 200, dtype=torch.bool))
    return (build_v7 if version == 7 else build_v6)(), inputs, None


def _bev() -> tuple:
    from tests.models.bev.test_lss_segmentor import SMALL, make_batch

    model = MODELS.build(copy.deepcopy(SMALL))
    nn.init.normal_(model.head.classifier.weight, std=0.1)  # it begins at zero
    batch = make_batch(model, 1)
    return model, batch['inputs'], batch['data_samples']


def _detection() -> tuple:
    from tests.models.detection.conftest import build

    return build(), torch.rand(1, 3, 64, 96), None


def _video(encoder: str) -> tuple:
    from tests.models.video.conftest import build, make_batch

    return build(encoder, keypoints=True), {key: value[:2] for key, value in make_batch()['inputs'].items()}, None


CASES = dict(
    segmentation=_segmentation,
    segmentation_points=_segmentation_points,
    tad=lambda: _tad(7),
    tad_frames=lambda: _tad(6),
    bev=_bev,
    detection=_detection,
    video_conv3d=lambda: _video('conv3d'),
    video_transformer=lambda: _video('transformer'),
    video_mamba=lambda: _video('mamba'),
)


def check(name: str, out) -> module.Exported:
    model, inputs, samples = CASES[name]()
    made = export_graph(model.eval(), inputs, samples, out, facts=dict(classes=['a', 'b']))
    assert made.deviation < 1e-4
    assert out.stat().st_size > 1000
    return made


@pytest.mark.parametrize('name', ['segmentation', 'tad'])
def test_a_model_is_exported_to_torchs_archive(name, tmp_path):
    check(name, tmp_path / 'model.pt2')


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in CASES if name not in ('segmentation', 'tad')])
def test_the_other_tasks_models_are_exported_to_torchs_archive(name, tmp_path):
    check(name, tmp_path / 'model.pt2')


def test_a_model_is_exported_to_onnx(tmp_path):
    pytest.importorskip('onnxruntime', reason="needs pip install -e '.[export]'")
    import onnx

    check('tad', tmp_path / 'model.onnx')
    (entry,) = onnx.load(str(tmp_path / 'model.onnx')).metadata_props
    assert (entry.key, json.loads(entry.value)) == ('mmopt', dict(classes=['a', 'b']))


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in CASES if name not in ('tad', 'video_mamba')])
def test_the_other_tasks_models_are_exported_to_onnx(name, tmp_path):
    pytest.importorskip('onnxruntime', reason="needs pip install -e '.[export]'")
    check(name, tmp_path / 'model.onnx')


def test_a_config_and_a_checkpoint_make_a_graph_with_its_facts(tmp_path):
    from mmengine.config import Config

    from mmopt.engine import checkpoint_io
    from tests.models.segmentation.conftest import SMALL, build

    model = build()
    checkpoint_io.save(tmp_path / 'weights.pth', dict(meta=dict(mmopt_version='0'), state_dict=model.state_dict()))
    cfg = Config(lower(dict(model=copy.deepcopy(SMALL), data=dict(test=dict(type='CityscapesDataset')))))
    made = export_model(cfg, tmp_path / 'weights.pth', tmp_path / 'sub' / 'm.pt2', batch_size=2, input_size=(32, 64))
    assert made.inputs == dict(inputs=(2, 3, 32, 64))
    assert made.outputs == dict(output=(2, 4, 32, 64))
    torch.testing.assert_close(made.run_graph()[0], made.run_model()[0], rtol=1e-4, atol=1e-5)
    extra = {'mmopt.json': ''}
    graph = torch.export.load(str(made.path), extra_files=extra).module()
    facts = json.loads(extra['mmopt.json'])
    assert facts['mean'] == pytest.approx([123.675, 116.28, 103.53])
    assert facts['std'] == pytest.approx([58.395, 57.12, 57.375])
    assert facts['classes'][:2] == ['road', 'sidewalk']
    image = torch.randn(2, 3, 32, 64)
    with torch.no_grad():
        torch.testing.assert_close(graph(image)[0], model.eval()(image), rtol=1e-4, atol=1e-5)


def test_a_graph_that_deviates_is_refused():
    expected = (torch.ones(3),)
    with pytest.raises(UserError, match=r'deviates from the model: logits by 0.01 of its largest value'):
        module._deviation([torch.tensor([1.0, 1.01, 1.0])], expected, ['logits'])
    with pytest.raises(UserError, match='deviates'):
        module._deviation([torch.tensor([1.0, float('nan'), 1.0])], expected, ['logits'])
    with pytest.raises(UserError, match=r'logits of shape \(2,\), the model \(3,\)'):
        module._deviation([torch.ones(2)], expected, ['logits'])


def test_a_graph_that_deviates_is_not_left_behind_and_an_older_file_stays(tmp_path, monkeypatch):
    (tmp_path / 'model.pt2').write_text('an older export')
    monkeypatch.setattr(module, '_TOLERANCE', -1.0)
    with pytest.raises(UserError, match='deviates'):
        export_graph(Doubling(), torch.ones(2), None, tmp_path / 'model.pt2')
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [('model.pt2', 'an older export')]


def test_a_full_disk_is_not_called_a_limit_of_the_model(tmp_path, monkeypatch):
    def write(*_):
        raise RuntimeError('the exporter failed') from OSError(errno.ENOSPC, 'No space left on device', 'model.pt2')

    monkeypatch.setattr(module, 'write_pt2', write)
    with pytest.raises(OSError, match='No space left'):
        export_graph(Doubling(), torch.ones(2), None, tmp_path / 'model.pt2')


def test_the_cause_is_told_that_an_exporters_own_error_hides():
    told = r'^Net cannot be exported to \.onnx: no function for bessel\. \.pt2 may do\.$'
    with pytest.raises(UserError, match=told), tracing('Net', '.onnx'):
        raise RuntimeError('step 1 of 3 failed\nmore') from ValueError('no function for bessel.\nmore')


class Doubling(nn.Module):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs * 2


class Counting(nn.Module):
    """Reads a value on the host: no graph can."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs * 2 if inputs.sum().item() > 0 else inputs.new_zeros(int(inputs.abs().sum().item()))


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r'the suffix says the format, so it must be one of .onnx, .pt2'):
        export_graph(Counting(), torch.ones(2), None, tmp_path / 'model.trt')
    with pytest.raises(UserError, match='Counting cannot be exported to .pt2') as caught:
        export_graph(Counting(), torch.ones(2), None, tmp_path / 'model.pt2')
    assert '\n' not in str(caught.value)
    bev, inputs, _ = _bev()
    with pytest.raises(UserError, match='LSSSegmentor needs the samples of its data, not random images'):
        export_graph(bev, inputs, None, tmp_path / 'model.pt2')
    monkeypatch.setitem(__import__('sys').modules, 'onnxruntime', None)
    with pytest.raises(UserError, match='ONNX needs onnxruntime, which is not installed'):
        export_graph(Counting(), torch.ones(2), None, tmp_path / 'model.onnx')
