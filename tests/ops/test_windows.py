import pytest
import torch

from mmopt.ops.windows import (
    merge_windows,
    partition_windows,
    relative_position_index,
    window_attention,
    window_layout,
)

CPU = torch.device('cpu')


def literal_windows(map_BHWC: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    """Pad, roll, view, permute, as the paper's code words it."""
    height, width = map_BHWC.shape[1:3]
    map_BHWC = torch.nn.functional.pad(map_BHWC, (0, 0, 0, -width % window, 0, -height % window))
    B, H, W, C = map_BHWC.shape
    rolled = torch.roll(map_BHWC, (-shift, -shift), (1, 2))
    cut = rolled.view(B, H // window, window, W // window, window, C)
    return cut.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window, C)


@pytest.mark.parametrize(('height', 'width'), [(8, 12), (7, 9), (3, 2)])
@pytest.mark.parametrize('shift', [0, 2])
def test_partition_equals_the_literal_one_and_merge_undoes_it(height, width, shift):
    map_BHWC = torch.randn(2, height, width, 3)
    layout = window_layout(2, height, width, 4, shift, CPU)
    tokens = map_BHWC.flatten(0, 2)
    windows = partition_windows(tokens, layout)
    assert torch.equal(windows.view(-1, 16, 3), literal_windows(map_BHWC, 4, shift))
    assert torch.equal(merge_windows(windows, layout), tokens)


@pytest.mark.parametrize('shift', [0, 2])
def test_gathers_have_the_right_gradients(shift):
    layout = window_layout(2, 5, 6, 4, shift, CPU)
    tokens = torch.randn(60, 2, dtype=torch.float64, requires_grad=True)
    places = len(layout.token)
    windows = torch.randn(places, 2, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda rows: partition_windows(rows, layout), tokens)
    torch.autograd.gradcheck(lambda rows: merge_windows(rows, layout), windows)


def test_only_neighbors_in_the_image_see_each_other_after_a_shift():
    layout = window_layout(1, 8, 8, 4, 2, CPU)
    token_KN = layout.token.view(-1, 16)
    for k, tokens in enumerate(token_KN.tolist()):
        for i, a in enumerate(tokens):
            for j, b in enumerate(tokens):
                # Shifted windows begin at 2: rows 0-1, 2-5, 6-7 are three bands, and so are columns.
                same = all((p + 2) // 4 == (q + 2) // 4 for p, q in ((a // 8, b // 8), (a % 8, b % 8)))
                assert (layout.bias[k, 0, i, j] == 0) == same


def test_a_layout_is_built_once_and_survives_inference_mode():
    with torch.inference_mode():
        layout = window_layout(1, 9, 11, 4, 1, CPU)
    assert window_layout(1, 9, 11, 4, 1, CPU) is layout
    rows = torch.randn(99, 2, requires_grad=True)
    partition_windows(rows, layout).sum().backward()
    assert torch.equal(rows.grad, torch.ones_like(rows))


def test_relative_positions_of_a_2x2_window():
    # Tokens (0,0) (0,1) (1,0) (1,1); the index is (dy + 1) * 3 + (dx + 1).
    assert relative_position_index(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


def literal_attention(qkv: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    K, N, width = qkv.shape
    q, k, v = qkv.view(K, N, 3, len(bias), -1).permute(2, 0, 3, 1, 4)
    score = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias
    if mask is not None:
        score = score + mask.repeat(K // len(mask), 1, 1, 1)
    return (score.softmax(-1) @ v).transpose(1, 2).reshape(K, N, width // 3)


@pytest.mark.parametrize('shift', [0, 1])
def test_attention_and_its_gradients_equal_the_literal_formula(shift):
    mask = window_layout(1, 6, 6, 3, shift, CPU).bias
    qkv = torch.randn(8, 9, 3 * 2 * 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, 9, 9, dtype=torch.float64, requires_grad=True)
    expected, actual = literal_attention(qkv, bias, mask), window_attention(qkv, bias, mask)
    torch.testing.assert_close(actual, expected)
    cotangent = torch.randn_like(expected)
    grads = torch.autograd.grad((actual * cotangent).sum(), (qkv, bias))
    torch.testing.assert_close(grads, torch.autograd.grad((expected * cotangent).sum(), (qkv, bias)))
    with torch.no_grad():
        torch.testing.assert_close(window_attention(qkv, bias, mask), expected)


def test_dropout_of_weights_keeps_the_mean():
    qkv, bias = torch.randn(4, 9, 24), torch.zeros(2, 9, 9)
    plain = window_attention(qkv, bias, None)
    dropped = torch.stack([window_attention(qkv, bias, None, dropout=0.3) for _ in range(400)])
    torch.testing.assert_close(dropped.mean(0), plain, atol=0.2, rtol=0)
    assert dropped.std(0).mean() > 0.05


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('shift', [0, 1])
def test_half_attention_is_near_float32_in_training_and_inference(dtype, shift):
    mask = window_layout(1, 6, 6, 3, shift, CPU).bias
    qkv, bias = torch.randn(4, 9, 24), torch.randn(2, 9, 9)
    expected = literal_attention(qkv, bias, mask)
    for trains in (True, False):
        with torch.set_grad_enabled(trains):
            actual = window_attention(qkv.to(dtype), bias, mask)
        assert actual.dtype == dtype
        torch.testing.assert_close(actual.float(), expected, atol=0.03, rtol=0.03)


@pytest.mark.parametrize('shift', [0, 2])
def test_a_graph_cuts_each_image_by_the_layout_of_one(shift, monkeypatch):
    tokens = torch.randn(3 * 7 * 9, 2)
    layout = window_layout(3, 7, 9, 4, shift, CPU)
    windows = partition_windows(tokens, layout)
    monkeypatch.setattr(torch.compiler, 'is_exporting', lambda: True)
    one = window_layout(1, 7, 9, 4, shift, CPU)
    assert torch.equal(partition_windows(tokens, one), windows)
    assert torch.equal(merge_windows(windows, one), tokens)
