"""The simulated GPU: CUDA's autocast, its operators, values of small tensors, and the CPU check.

All of it runs in one process of its own (:mod:`tests.engine.memory.simulated`): the device cannot be unregistered.
"""

import json
import os
import subprocess
import sys

import pytest

from mmopt.engine.memory.autocast import parse_policies
from mmopt.engine.memory.fake_calls import READ
from tests.conftest import REPO

PARTS = ('dtypes', 'weight_casts', 'attention', 'recurrent', 'values', 'calls', 'scan', 'cpu_check', 'training')


@pytest.fixture(scope='module')
def found() -> dict:
    done = subprocess.run(
        [sys.executable, '-m', 'tests.engine.memory.simulated', *PARTS],
        cwd=REPO,
        env={**os.environ, 'PYTHONPATH': str(REPO), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(('precision', 'half'), [('fp16', 'float16'), ('bf16', 'bfloat16')])
def test_autocast_follows_the_table_of_cuda(found, precision, half):
    # https://docs.pytorch.org/docs/stable/amp.html#cuda-op-specific-behavior
    types = found['dtypes'][precision]
    in_half = ('matmul', 'linear', 'einsum', 'conv', 'module', 'relu_of_half', 'cat', 'promote_halves')
    in_single = ('softmax', 'log_softmax', 'layer_norm', 'sum', 'norm', 'exp', 'bce', 'upsample', 'add', 'promote')
    assert {name: types[name] for name in in_half} == dict.fromkeys(in_half, half)
    assert {name: types[name] for name in in_single} == dict.fromkeys(in_single, 'float32')


def test_autocast_leaves_doubles_and_the_host_alone(found):
    assert found['dtypes']['fp16']['double'] == 'float64'
    assert found['dtypes']['fp16']['host'] == 'float32'


def test_a_weight_is_cast_once_per_autocast(found):
    assert found['weight_casts'] == dict(cached=1, uncached=3, inside_disabled='torch.float32')


def test_the_policies_are_read_from_the_installed_torch():
    policies = parse_policies()
    assert {'conv2d', 'linear', 'scaled_dot_product_attention'} <= set(policies['lower'])
    assert {'layer_norm', 'pow.Tensor_Scalar'} <= set(policies['fp32'])
    assert {'softmax.int', 'sum.dim_IntList'} <= set(policies['fp32_dtype'])
    assert 'scatter_add' in policies['promote']


def test_another_header_is_refused_and_not_guessed():
    with pytest.raises(RuntimeError, match='has no macro AT_FORALL_LOWER_PRECISION_FP'):
        parse_policies('#define SOMETHING_ELSE')


def test_attention_is_the_one_that_cuda_chooses(found):
    kinds = {key: found['attention'][key] for key in ('half', 'half_with_bias', 'single', 'odd_head', 'turing')}
    assert kinds == dict(
        half='flash', half_with_bias='efficient', single='efficient', odd_head='math', turing='efficient'
    )


def test_a_trained_attention_bias_gets_its_gradient_and_is_padded(found):
    assert found['attention']['operators'] == [
        '_scaled_dot_product_efficient_attention',
        '_scaled_dot_product_efficient_attention_backward',
    ]
    assert found['attention']['padded_bias']
    assert found['attention']['has_gradients']


def test_hopper_asks_cudnn_for_attention_in_halves_unless_the_bias_learns(found):
    kinds = {key: value for key, value in found['attention'].items() if key.startswith(('hopper', 'workstation'))}
    assert kinds == dict(
        hopper='cudnn',
        hopper_with_bias='cudnn',
        hopper_with_trained_bias='efficient',
        hopper_single='efficient',
        hopper_odd_head='flash',
        workstation='flash',
        hopper_operators=['_scaled_dot_product_cudnn_attention', '_scaled_dot_product_cudnn_attention_backward'],
        hopper_gradients=True,
    )


def test_recurrent_layers_are_one_operator_with_a_reserve(found):
    assert found['recurrent']['out'] == [[4, 10, 64], 'torch.float16']
    assert found['recurrent']['hidden'] == found['recurrent']['cell'] == [4, 4, 32]
    assert found['recurrent']['gru'] == [[10, 4, 32], [1, 4, 32]]
    assert found['recurrent']['reserve']
    assert found['recurrent']['num_gradients'] == found['recurrent']['num_parameters'] == 16


def test_values_of_labels_are_known_and_sizes_follow_them(found):
    values = found['values']
    assert values['count'] == 3
    assert values['places'] == [1, 3, 5]
    assert values['rows'] == [3, 20000]
    assert values['assumed_before'] == {}
    assert values['numpy_tensor'] == 4


def test_what_depends_on_activations_is_assumed_at_its_largest_and_said(found):
    assert found['values']['selected'] == [120000]
    assert found['values']['number'] == 1.0
    assert len(found['values']['assumed']) == 2
    assert found['values']['loop_ends']


def test_writes_through_views_are_followed_until_something_unknown_is_written(found):
    assert found['values']['after_write'] == 5
    assert found['values']['forgotten']


def test_an_array_of_labels_is_read_and_one_of_activations_is_made_up_and_said(found):
    calls = found['calls']
    assert calls['labels'] == [2, 0]
    assert calls['assumed_before'] == {}
    assert calls['shape'] == calls['forced'] == [200, 100]
    assert calls['dtypes'] == ['float16', 'int32']
    assert calls['mask']
    assert calls['back'] == [200]
    assert calls['assumed'] == [READ]
    assert calls['restored']


def test_an_array_that_a_gpu_refuses_is_refused(found):
    assert found['calls']['refused'] == ['TypeError', 'TypeError', 'RuntimeError']


def test_a_ctc_loss_takes_lengths_from_the_host(found):
    gradient = [8, 2, 5]
    assert found['calls']['ctc'] == dict(
        none=[[2], 'simgpu', gradient], mean=[[], 'simgpu', gradient], sum=[[], 'simgpu', gradient]
    )


def test_the_stand_in_of_the_scan_takes_what_the_scan_takes(found):
    assert found['scan']['stand_in'] == pytest.approx(found['scan']['real'], rel=0.02)


@pytest.mark.parametrize('what', ['net', 'mlp', 'mlp_allocator'])
def test_the_trace_is_within_2_percent_of_what_real_tensors_take(found, what):
    traced, measured = found['cpu_check'][what]
    assert measured > 5e6
    assert traced == pytest.approx(measured, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize('config', sorted(path.name for path in (REPO / 'configs' / 'demo').glob('*.py')))
def test_the_trace_of_every_demo_is_within_2_percent_of_what_real_tensors_take(config):
    done = subprocess.run(
        [sys.executable, 'benchmarks/memory_estimate.py', '--cpu', '--configs', f'configs/demo/{config}'],
        cwd=REPO,
        env={**os.environ, 'PYTHONPATH': str(REPO), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    row = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{')))
    assert row['operators'] > 1e7
    assert row['traced'] == pytest.approx(row['operators'], rel=0.02)
    # Kernels' own buffers are not in the trace.
    assert row['traced'] == pytest.approx(row['allocator'], rel=0.03)


def test_weights_gradients_and_optimizer_state_are_what_they_must_be(found):
    num_bytes = found['training']['parameters']
    for precision in ('fp32', 'fp16'):
        run = found['training'][precision]
        # BatchNorm's two running statistics and its counter.
        assert run['weights'] == num_bytes + 2 * 24 * 4 + 8
        assert run['gradients'] == num_bytes
        assert run['optimizer'] == 2 * num_bytes
        assert run['total'] == run['peak']
        assert run['phases'] == ['backward', 'forward', 'setup', 'step']
        assert run['assumed'] == {}


def test_half_precision_takes_less_and_the_range_holds_the_estimate(found):
    assert found['training']['fp16']['activations'] < found['training']['fp32']['activations']
    low, middle, high = found['training']['fp32']['reserved']
    assert low <= middle <= high


@pytest.mark.parametrize(('name', 'copies'), [('SGD', 1), ('Adam', 2), ('AdamW', 2), ('Adagrad', 1)])
def test_every_fused_optimizer_is_estimated_with_its_state(found, name, copies):
    # Counts of steps and learning rates take a few bytes per parameter.
    num_bytes = found['training']['parameters']
    assert found['training']['fused'][name] == pytest.approx(copies * num_bytes, abs=1000)


def test_activations_grow_with_the_batch_and_weights_do_not(found):
    once, twice = found['training']['fp32'], found['training']['twice']
    assert twice['weights'] == once['weights']
    assert twice['activations'] == pytest.approx(2 * once['activations'], rel=0.02)


def test_a_repeated_step_takes_what_a_second_step_takes(found):
    repeated, run = found['training']['repeated']
    assert repeated[:2] == run[:2]
    assert repeated[2] == pytest.approx(run[2], rel=0.02)


def test_the_next_batch_takes_blocks_of_its_own_stream(found):
    without, prefetched = found['training']['prefetch']
    # Images of 192 KiB and labels of 32 bytes: a segment of 2 MiB holds those of both batches.
    assert found['training']['batch'] == [4 * 3 * 64 * 64 * 4, 4 * 8]
    assert without['prefetched'] == 0
    assert prefetched['prefetched'] == 2 * 1024**2 - (4 * 3 * 64 * 64 * 4 + 512)
    assert prefetched['parts']['inputs'] == sum(found['training']['batch'])
    # The batch in use leaves the blocks of what is computed.
    assert prefetched['allocated'] == without['allocated']
    assert prefetched['reserved'] > without['reserved']
    assert prefetched['reserved_low'] <= prefetched['reserved'] <= prefetched['reserved_high']


def test_activations_carry_the_names_of_their_modules(found):
    assert {'stem.0', 'block.0', 'norm'} <= set(found['training']['fp32']['modules'])
