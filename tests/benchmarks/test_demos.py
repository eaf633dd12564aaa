"""What the benchmark of the demos counts and writes."""

import pytest

from tests.conftest import load_script


@pytest.fixture(scope='module')
def benchmark():
    return load_script('benchmarks/demos.py')


def test_iterations_of_epochs_are_counted_from_the_default_size_of_the_data(benchmark):
    config = benchmark.load_config(benchmark.CONFIGS / 'yolov5_fred_rgb.py')
    assert config.train_dataloader['batch_size'] == 8
    config.train_cfg['max_epochs'] = 3
    assert benchmark.num_train_samples('fred') == 320
    assert benchmark.num_iterations(config) == 120
    assert benchmark.num_train_samples('driver') == 12 * 18


def test_the_report_has_a_table_per_machine_and_says_which_claims_fail(benchmark):
    row = dict(
        demo='x', cpu='A', instructions='AVX2, emulated', threads=2, torch='2.13', precision='fp32', seed=0, tflop=1.5,
        iters=10, data_s=3.0, data_cpu_s=5.0, train_s=60.0, train_cpu_s=100.0, metric='mIoU', value=0.5, baseline=0.1,
        holds=True,
    )  # fmt: skip
    text = benchmark.report([row, row | dict(seed=1, holds=False), row | dict(instructions='AVX512')])
    assert text.count('## A, 2 threads, ') == 2
    assert '| x | fp32 | 0 | 1.50 | 10 | 3 (5) | 60 (100) | mIoU | 0.500 | 0.100 | yes |' in text
    assert '| x | fp32 | 1 | 1.50 | 10 | 3 (5) | 60 (100) | mIoU | 0.500 | 0.100 | NO |' in text
