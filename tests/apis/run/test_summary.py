import json

import pytest

from mmopt.apis.run.expect import check_expectations, parse_expectations
from mmopt.apis.run.summary import Expectation, Summary, format_metrics, median_iteration
from mmopt.registry import FUNCTIONS, METRICS
from mmopt.utils.errors import UserError

METRIC_VALUES = {'mIoU': 0.41, 'IoU.car': 0.5, 'IoU.bus': float('nan'), 'IoU.truck': 0.25}


@pytest.fixture
def summary() -> Summary:
    return Summary(
        metrics=METRIC_VALUES,
        best=(200, 0.45),
        main_metric='mIoU',
        iters=300,
        seconds_per_iter=0.412,
        wall_s=130.0,
        peak_memory=('GPU, reserved', 20.123),
        places=dict(checkpoint='runs/x/best_mIoU.pth', log='runs/x/latest.log'),
        next_command='python tools/test.py c.py runs/x/best_mIoU.pth',
    )


def test_the_summary_says_it_all_in_short_lines(summary):
    text = str(summary)
    for part in (
        'best 0.45 at iteration 200, last 0.41',
        '300 in 2 min 10 s, 0.412 s per iteration (median, warm-up excluded)',
        '20.12 GiB (GPU, reserved)',
        'runs/x/best_mIoU.pth',
        'next: python tools/test.py',
    ):
        assert part in text
    assert max(map(len, text.splitlines())) < 110


def test_classes_are_a_table_and_absent_ones_a_dash(summary):
    lines = [line.split() for line in format_metrics(summary.metrics).splitlines()]
    assert ['mIoU', '0.4100'] in lines
    assert ['IoU'] in lines
    assert ['car', '0.5000', 'bus', '-', 'truck', '0.2500'] in lines


def test_a_baseline_stands_beside_each_value():
    text = format_metrics(METRIC_VALUES, {'mIoU': 0.2, 'IoU.car': 0.3})
    assert '0.4100  (0.2000)' in text
    assert '0.5000  (0.3000)' in text


def test_the_file_is_json_without_nan(summary, tmp_path):
    summary.save(tmp_path / 's.json')
    saved = json.loads((tmp_path / 's.json').read_text())
    assert saved['metrics']['IoU.bus'] is None
    assert saved['best'] == [200, 0.45]


def test_the_median_leaves_the_warm_up_out():
    assert median_iteration([9.0] * 10 + [1.0, 2.0, 3.0] * 10) == 2.0
    assert median_iteration([9.0, 1.0, 2.0, 3.0]) == 2.0
    assert median_iteration([4.0]) == 4.0
    assert median_iteration([]) is None


@pytest.mark.parametrize(('value', 'code', 'word'), [(0.41, 0, 'ok'), (0.3, 1, 'FAILED'), (float('nan'), 1, 'FAILED')])
def test_an_expectation_decides_the_exit_code(summary, value, code, word):
    expectation = Expectation('mIoU', value, 0.3)
    result = Summary(**{**vars(summary), 'expectations': [expectation]})
    assert result.exit_code == code
    assert f'expected mIoU > 0.3: {value:.3g} {word}' in str(result)


@METRICS.register_module()
class CountingBaseline:
    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def __call__(self, train_dataset, val_dataset) -> dict:
        return dict(mIoU=self.scale * len(train_dataset) / len(val_dataset))


@FUNCTIONS.register_module()
def counting_baseline(train_dataset, val_dataset, scale=1.0) -> dict:
    return dict(mIoU=scale * len(train_dataset) / len(val_dataset))


@pytest.mark.parametrize('name', ['CountingBaseline', 'counting_baseline'])
def test_a_baseline_is_a_registered_class_or_function(name):
    cfg = dict(metric='mIoU', baseline=dict(type=name, scale=0.5), margin=0.05)
    (result,) = check_expectations(parse_expectations(cfg), dict(mIoU=0.4), range(2), range(4))
    assert result.bound == pytest.approx(0.3)
    assert result.holds
    assert str(result) == f'expected mIoU > 0.3 ({name} 0.25 + 0.05): 0.4 ok'
    assert result.baseline == dict(mIoU=0.25)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(metric='mIoU', abov=0.3), 'expect.abov is not a known key; did you mean above'),
        (dict(metric='mIoU'), 'needs a metric, and above'),
        (dict(metric='mIoU', above=0.1, baseline=dict(type='CountingBaseline')), 'needs a metric, and above'),
        (dict(metric='mIoU', above=0.1, margin=0.1), 'margin counts from a baseline'),
        (dict(metric='mIoU', above=None), 'expect.above must be a number, got None'),
        (
            dict(metric='mIoU', baseline=dict(type='CountingBaseline'), margin='5 %'),
            "margin must be a number, got '5 %'",
        ),
        (dict(metric='mIoU', baseline=dict(type='CountingBaselin')), 'Did you mean CountingBaseline'),
    ],
)
def test_a_wrong_expectation_is_found_before_the_run(cfg, message):
    with pytest.raises(UserError, match=message):
        parse_expectations(cfg)


def test_an_expected_metric_that_nobody_computes_names_those_there_are():
    with pytest.raises(UserError, match="expect.metric='mAP' is not among the metrics of the evaluation: mIoU"):
        check_expectations([dict(metric='mAP', above=0.1)], dict(mIoU=0.4), [], [])
