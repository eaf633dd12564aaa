import pytest
import torch
from mmengine.evaluator import Evaluator

from mmopt.evaluation import BEVIoU
from mmopt.evaluation.bev.iou import NUSCENES_CLASSES
from mmopt.ops.bev_labels import decode_label_bits
from mmopt.registry import METRICS
from mmopt.structures import DataSample

IGNORE = 1 << 14


def sample(pred: list[int], label: list[int]) -> dict:
    return dict(pred_bits=torch.tensor([pred], dtype=torch.int32), label_bits=torch.tensor([label], dtype=torch.int32))


def run(*batches: list[dict], **options) -> dict:
    metric = BEVIoU(**options)
    for samples in batches:
        metric.process({}, samples)
    return metric.evaluate(len(batches))


def test_three_readings_by_hand():
    # Class 0: image A has tp 1, fn 1; image B tp 2. Class 1: image A fp 1; image B tp 1, fp 1. Cell 5 of A is ignored.
    a = sample([1, 0, 2, 0, 3], [1, 1, 0, 0, IGNORE | 3])
    b = sample([1, 1, 2, 2, 0], [1, 1, 2, 0, 0])
    metrics = run([a], [b])
    assert metrics['IoU.drivable_area'] == pytest.approx(3 / 4)
    assert metrics['IoU.ped_crossing'] == pytest.approx(1 / 3)
    assert metrics['mIoU'] == pytest.approx((3 / 4 + 1 / 3) / 2)
    assert metrics['mIoUv1'] == pytest.approx(((1 / 2 + 1) / 2 + 1 / 2) / 2)
    assert metrics['mIoUv2'] == pytest.approx((1 / 3 + 3 / 4) / 2)


def test_counting_a_batch_reads_nothing_back_from_the_device():
    # On the device `meta` there is nothing to read: whatever tries raises.
    maps = {key: value.to('meta') for key, value in sample([1, 0], [1, 1]).items()}
    BEVIoU().process({}, [maps])


def test_equals_the_original_formula_on_random_maps():
    pred, label = torch.randint(0, 1 << 15, (2, 4, 9, 7), dtype=torch.int32)
    metric = BEVIoU()
    samples = [dict(pred_bits=p, label_bits=b) for p, b in zip(pred, label, strict=True)]
    metric.process({}, samples[:3])
    metric.process({}, samples[3:])
    maps = decode_label_bits(label)
    valid, truth = maps[:, 14:], maps[:, :14]
    guess = decode_label_bits(pred)[:, :14]
    tp, fp, fn = (part.float().mul(valid).sum((2, 3)) for part in (guess & truth, guess & ~truth, ~guess & truth))
    metrics = metric.evaluate(4)
    assert metrics['mIoU'] == pytest.approx(float((tp.sum(0) / (tp + fp + fn).sum(0)).mean()))
    assert metrics['mIoUv1'] == pytest.approx(float((tp / (tp + fp + fn)).mean()))
    assert metrics['mIoUv2'] == pytest.approx(float((tp.sum(1) / (tp + fp + fn).sum(1)).mean()))


def test_a_class_that_never_occurs_is_left_out_and_named(caplog):
    metrics = run([sample([1, 4], [1, 0])])
    assert metrics['mIoU'] == 1.0
    assert [key for key in metrics if key.startswith('IoU.')] == ['IoU.drivable_area']
    assert metrics['mIoUv2'] == 0.5


def test_absent_classes_are_named_in_the_log(capsys):
    run([sample([1], [3])])
    printed = capsys.readouterr().out
    assert 'no labeled cell of walkway, carpark' in printed
    assert 'drivable_area' not in printed


def test_a_class_that_is_predicted_and_never_labeled_counts_0_on_demand():
    for absent, wanted in dict(ignore=1.0, zero=0.5).items():
        metric = BEVIoU(absent_classes=absent)
        # Both cells are drivable and predicted so; one is predicted to be a walkway, too.
        metric.process({}, [dict(pred_bits=torch.tensor([[5, 1]]), label_bits=torch.tensor([[1, 1]]))])
        assert metric.evaluate(1)['mIoU'] == wanted
    with pytest.raises(ValueError, match="absent_classes must be 'ignore' or 'zero', got 'nan'"):
        BEVIoU(absent_classes='nan')


def test_each_evaluation_starts_anew():
    metric = BEVIoU()
    metric.process({}, [sample([0], [1])])
    assert metric.evaluate(1)['mIoU'] == 0.0
    metric.process({}, [sample([1], [1])])
    assert metric.evaluate(1)['mIoU'] == 1.0


def test_nothing_that_counts_gives_zero_and_a_warning(capsys):
    assert run([sample([1], [IGNORE | 1])])['mIoU'] == 0.0
    assert 'none of 1 samples has a labeled' in capsys.readouterr().out


def test_works_inside_mmengines_evaluator_with_names_from_the_data_set():
    names = [f'class_{index}' for index in range(14)]
    evaluator = Evaluator([METRICS.build(dict(type='BEVIoU', prefix='val'))])
    evaluator.dataset_meta = dict(classes=names)
    bits = torch.tensor([[1 << 3]], dtype=torch.int32)
    evaluator.process([DataSample(pred_bits=bits, label_bits=bits)], {})
    assert evaluator.evaluate(1) == {'val/mIoU': 1.0, 'val/mIoUv1': 1.0, 'val/mIoUv2': 1.0, 'val/IoU.class_3': 1.0}


def test_there_are_fourteen_names():
    assert len(NUSCENES_CLASSES) == 14


def test_ranks_add_up_to_one_process(monkeypatch):
    pred, label = torch.randint(0, 1 << 15, (2, 3, 9, 7), dtype=torch.int32)
    samples = [dict(pred_bits=p, label_bits=b) for p, b in zip(pred, label, strict=True)]
    other = BEVIoU()
    other.process({}, samples[2:])
    monkeypatch.setattr('mmopt.evaluation.bev.iou.all_reduce', lambda counters: counters.add_(other._counters))
    split = run(samples[:2])
    monkeypatch.undo()
    assert split == pytest.approx(run(samples))
