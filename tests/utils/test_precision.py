"""What devices compute, from facts made up by hand, and what this machine says of itself."""

import os
import subprocess
import sys
import time

import pytest
import torch

from mmopt.utils.precision import (
    PRECISIONS,
    choose_precision,
    cpu_device,
    cuda_device,
    mps_device,
    relative_time,
    this_device,
)

NATIVE, EMULATED, MISSING = 'native', 'emulated', 'missing'


@pytest.mark.parametrize(
    ('device', 'fp16', 'bf16', 'tf32', 'half'),
    [
        (cuda_device((6, 0)), EMULATED, EMULATED, MISSING, None),
        (cuda_device((7, 0)), NATIVE, EMULATED, MISSING, 'fp16'),
        (cuda_device((7, 5)), NATIVE, EMULATED, MISSING, 'fp16'),
        (cuda_device((8, 0)), NATIVE, NATIVE, NATIVE, 'bf16'),
        (cuda_device((12, 0)), NATIVE, NATIVE, NATIVE, 'bf16'),
        (mps_device(has_bf16=False), NATIVE, MISSING, MISSING, 'fp16'),
        (mps_device(has_bf16=True), NATIVE, NATIVE, MISSING, 'bf16'),
        (cpu_device({}), EMULATED, EMULATED, MISSING, None),
        (cpu_device(dict(bf16='AVX512-BF16')), EMULATED, NATIVE, MISSING, 'bf16'),
        (cpu_device(dict(fp16='AMX', bf16='AMX')), NATIVE, NATIVE, MISSING, 'bf16'),
        (this_device('xpu'), EMULATED, EMULATED, MISSING, None),
    ],
)
def test_each_device_computes_what_its_generation_does(device, fp16, bf16, tf32, half):
    assert [device.support(name).level for name in ('fp32', 'fp16', 'bf16', 'tf32')] == [NATIVE, fp16, bf16, tf32]
    assert device.native_half == half
    assert choose_precision(device).precision == (half or 'fp32')
    assert all(device.support(name).reason for name in PRECISIONS)


def test_only_what_the_config_allows_is_chosen():
    gpu = cuda_device((8, 0))
    assert choose_precision(gpu, ['fp16']).precision == 'fp16'
    assert str(choose_precision(cuda_device((7, 5)), ['bf16'])) == (
        'fp32 (auto: GPUs before Ampere convert bf16 to fp32 (compute capability 7.5))'
    )
    assert str(choose_precision(gpu, [])) == 'fp32 (auto: the config allows no other)'


def test_a_choice_gives_the_reason_of_each_precision_that_it_passed_over():
    assert str(choose_precision(cpu_device({}))) == (
        'fp32 (auto: this CPU has no bf16 arithmetic; this CPU has no fp16 arithmetic)'
    )


def test_onednn_has_the_last_word_on_this_cpu():
    """With its instruction set limited to AVX2 it has no bf16: what the flags of the processor say does not count."""
    code = 'from mmopt.utils.precision import this_cpu; print(this_cpu().support("bf16").level)'
    env = os.environ | dict(ONEDNN_MAX_CPU_ISA='AVX2', OMP_NUM_THREADS='1')
    done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == EMULATED


def test_what_is_called_native_on_this_cpu_is_faster_than_fp32_and_the_rest_is_not():
    """oneDNN's answer against the clock, on a product and a convolution (measured here: 0.42 native, 45 without)."""
    from mmopt.utils import precision

    for name in ('bf16', 'fp16'):
        product = [precision._product_and_convolution(precision.DTYPES[kind]) for kind in ('fp32', name)]
        ratio = relative_time(*product)
        assert (ratio < 0.9) == precision.this_cpu().support(name).is_native, (name, ratio)


def test_relative_times_are_ratios_and_a_hopeless_case_is_cut_short():
    calls = []

    def work(seconds):
        def run():
            calls.append(seconds)
            time.sleep(seconds)

        return run

    threads = torch.get_num_threads()
    assert relative_time([work(0.002)], [work(0.004)], repeats=3) == pytest.approx(2, rel=0.3)
    assert torch.get_num_threads() == threads
    calls.clear()
    assert relative_time([work(0.001)], [work(0.05)]) > 8
    assert calls == [0.001, 0.05] * 2
