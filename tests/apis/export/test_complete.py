"""Graphs from uint8 pictures to the final result give what ``test_step`` gives, for each of the five tasks."""

import copy
import json

import pytest
import torch
from mmengine.config import Config

from mmopt.apis.export import complete as module
from mmopt.apis.export.compare import largest_deviation
from mmopt.apis.export.example import fold_normalization
from mmopt.apis.export.export import Exported
from mmopt.apis.export.tensors import INPUTS, give_predictions, graph_inputs
from mmopt.structures import DataSample
from mmopt.structures.complete_graph import preprocess
from mmopt.utils.errors import UserError
from tests.apis.export.complete_cases import CASES, build_case


def _fields(sample: DataSample) -> dict[str, torch.Tensor]:
    return {name: value for name, value in sample.items() if name.startswith('pred_')}


@pytest.mark.parametrize('name', CASES)
def test_the_graph_gives_what_the_model_predicts(name):
    model, batch = build_case(name)
    graph = model.complete_graph(batch['data_samples'])
    tensors = graph_inputs(batch, graph.fields)
    inputs = {key: value for key, value in tensors.items() if key not in graph.fields}
    with torch.no_grad():
        outputs = graph.module(inputs.get(INPUTS, inputs), *(tensors[field] for field in graph.fields))
        empty = [DataSample() for _ in batch['data_samples']]
        given = give_predictions(outputs, graph.counts, empty)
        predicted = model.test_step(copy.deepcopy(batch))
    assert set(outputs) == set(graph.units)
    for own, sample in zip(given, predicted, strict=True):
        want = _fields(sample)
        assert want
        assert {key: own.get(key).shape for key in want} == {key: value.shape for key, value in want.items()}
        assert largest_deviation({key: own.get(key) for key in want}, want, graph.counts) < 1e-5
        if graph.counts:
            assert len(want['pred_scores']) > 3


def _export(name: str, out) -> Exported:
    model, batch = build_case(name)
    graph = model.complete_graph(batch['data_samples'])
    tensors = graph_inputs(batch, graph.fields)
    axes = {key: {0: 'batch'} | dict(graph.axes.get(key, {})) for key in tensors}
    return module._write(model, graph, batch, tensors, axes, out, dict(model=name))


def _check(name: str, out) -> None:
    made = _export(name, out)
    assert made.deviation < 1e-3
    # torch.export asks that a size holds for all; torch's exporter of ONNX asks less.
    one_size = out.suffix == '.pt2' and name.startswith('segmentation')
    assert [note.partition(':')[0] for note in made.notes] == (['batch, height, width'] if one_size else [])
    assert all(axes[0] == 'batch' for axes in made.open_axes.values())


def test_a_detector_is_exported_to_onnx_with_an_open_batch(tmp_path):
    pytest.importorskip('onnxruntime', reason="needs pip install -e '.[export]'")
    import onnx

    _check('detection', tmp_path / 'model.onnx')
    model = onnx.load(str(tmp_path / 'model.onnx'))
    facts = json.loads({entry.key: entry.value for entry in model.metadata_props}['mmopt'])
    assert facts['inputs'] == dict(inputs=dict(type='uint8', shape=['batch', 3, 64, 96], source='inputs'))
    assert facts['outputs']['pred_boxes']['counted_by'] == 'num_predictions'
    assert 'NonMaxSuppression' in {node.op_type for node in model.graph.node}


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in CASES if name not in ('detection', 'video_mamba')])
def test_the_other_models_are_exported_to_onnx(name, tmp_path):
    pytest.importorskip('onnxruntime', reason="needs pip install -e '.[export]'")
    _check(name, tmp_path / 'model.onnx')


@pytest.mark.slow
@pytest.mark.parametrize('name', CASES)
def test_models_are_exported_to_torchs_archive(name, tmp_path):
    _check(name, tmp_path / 'model.pt2')


def test_rows_are_compared_in_any_order_and_near_ties_may_go_either_way():
    counts = dict(boxes='n', scores='n')
    boxes, scores = torch.rand(100, 4) * 100, torch.rand(100)
    order = torch.randperm(100)
    got = dict(boxes=boxes[order] + 1e-3, scores=scores[order])
    assert largest_deviation(got, dict(boxes=boxes, scores=scores), counts) < 1e-4
    # Two of a hundred may be missing, three may not.
    assert largest_deviation({k: v[2:] for k, v in got.items()}, dict(boxes=boxes, scores=scores), counts) < 1e-4
    with pytest.raises(UserError, match='boxes, scores: 3 of 100 rows have no counterpart, 2 are allowed'):
        largest_deviation({k: v[3:] for k, v in got.items()}, dict(boxes=boxes, scores=scores), counts)
    with pytest.raises(UserError, match='scores by 0.01 of its largest value'):
        largest_deviation(dict(scores=torch.tensor([1.0, 0.99])), dict(scores=torch.ones(2)), {})
    with pytest.raises(UserError, match=r'label in 25.00% of its places'):
        largest_deviation(dict(label=torch.tensor([1, 2, 3, 4])), dict(label=torch.tensor([1, 2, 3, 5])), {})


def test_rows_of_unequal_number_are_padded_with_the_first_one():
    samples = [DataSample(), DataSample()]
    samples[0].labeled, samples[1].labeled = torch.tensor([[1, 2, 3]]), torch.tensor([[4, 5, 6], [7, 8, 9]])
    batch = dict(inputs=[torch.zeros(2), torch.ones(2)], data_samples=samples)
    tensors = graph_inputs(batch, ['labeled'])
    assert tensors['labeled'].tolist() == [[[1, 2, 3], [1, 2, 3]], [[4, 5, 6], [7, 8, 9]]]
    with pytest.raises(UserError, match='The graph takes intrinsics of every sample'):
        graph_inputs(batch, ['intrinsics'])


def test_a_camera_with_skew_gets_no_graph():
    model, batch = build_case('bev')
    batch['data_samples'][0].intrinsics[0, 1] = 0.1
    with pytest.raises(ValueError, match=r'have skew \(row 0, column 1\)'):
        model.complete_graph(batch['data_samples'])


def _normalizing_config(*behind: dict, **changes) -> Config:
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Normalize', mean=[1.0, 2, 3], std=[4.0, 5, 6]), *behind]
    pipeline[1] |= changes
    return Config(
        dict(
            test_dataloader=dict(dataset=dict(type='CityscapesDataset', pipeline=[*pipeline, dict(type='PackInputs')]))
        )
    )


def test_a_normalization_at_the_end_of_the_pipeline_moves_into_the_graph():
    model = build_case('segmentation')[0]
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    normalized = (images - torch.tensor([1.0, 2, 3]).view(3, 1, 1)) / torch.tensor([4.0, 5, 6]).view(3, 1, 1)
    section = fold_normalization(_normalizing_config(), model)
    assert [step['type'] for step in section['pipeline']] == ['LoadImageFromFile', 'PackInputs']
    torch.testing.assert_close(preprocess(model, images), normalized)


def test_what_a_graph_from_uint8_cannot_do_is_refused():
    model = build_case('segmentation')[0]
    with pytest.raises(UserError, match='The pipeline normalizes before Resize, so no graph can start from uint8'):
        fold_normalization(_normalizing_config(dict(type='Resize', scale=(8, 8))), model)
    with pytest.raises(UserError, match='feeds BGR to the model'):
        fold_normalization(_normalizing_config(to_rgb=False), model)
