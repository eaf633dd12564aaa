"""Every demo trains within minutes on two cores of any CPU: what it may compute, counted without training it.

Two AVX2 cores do 58 GFLOP/s each in large fp32 products, a third of that in small networks; the limit is 300 seconds.
"""

import pytest

from tests.conftest import load_script

BUDGET_TFLOP = dict(
    bisenetv2_cityscapes=9.5,
    lss_swin_nuscenes=5.0,
    tad_v6_mabe=6.0,
    tad_v7_mabe=8.0,  # with the V6 that it trains for comparison
    video_conv3d_driver=1.8,
    video_mamba_driver=1.9,  # most of its time is in no product
    video_stgcn_driver=0.4,
    video_transformer_driver=4.9,
    yolov5_fred_event=3.8,
    yolov5_fred_fusion=6.5,
    yolov5_fred_rgb=3.8,
)


@pytest.fixture(scope='module')
def benchmark():
    return load_script('benchmarks/demos.py')


def test_every_demo_has_a_budget(benchmark):
    assert sorted(BUDGET_TFLOP) == benchmark.demo_names()


@pytest.mark.parametrize('name', sorted(BUDGET_TFLOP))
def test_a_demo_keeps_to_its_budget(benchmark, name):
    tflop = benchmark.training_tflop(name)
    assert tflop <= BUDGET_TFLOP[name]
    # A budget far above what is needed lets a demo grow back.
    assert tflop >= 0.8 * BUDGET_TFLOP[name]
