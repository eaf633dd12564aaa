import torch
from torch.nn.functional import scaled_dot_product_attention

from mmopt.utils.flops import count_flops, flops_by_kind


def test_a_product_and_its_backward():
    weight = torch.randn(5, 7, requires_grad=True)
    inputs = torch.randn(3, 5)
    assert count_flops(lambda: inputs @ weight) == 2 * 3 * 5 * 7
    assert count_flops(lambda: (inputs @ weight).sum().backward()) == 2 * (2 * 3 * 5 * 7)


def test_fused_attention_on_a_cpu_counts_like_its_products():
    q, k, v = (torch.randn(2, 3, 11, 8, requires_grad=True) for _ in range(3))
    product = 2 * (2 * 3) * 11 * 11 * 8
    assert count_flops(lambda: scaled_dot_product_attention(q, k, v)) == 2 * product
    # The backward computes the scores anew.
    assert count_flops(lambda: scaled_dot_product_attention(q, k, v).sum().backward()) == 7 * product


def test_a_recurrent_layer_counts_like_its_products():
    layer = torch.nn.LSTM(5, 7, bidirectional=True)
    inputs = torch.randn(11, 3, 5)
    gates = 2 * 3 * 4 * 7 * (5 + 7)  # per step and direction: input and hidden state into four gates
    assert count_flops(lambda: layer(inputs), recurrent=True) == 2 * 11 * gates


def test_a_compiled_module_counts_like_itself():
    layer = torch.nn.Linear(5, 7)
    layer.compile(backend='eager')
    assert count_flops(lambda: layer(torch.randn(3, 5))) == 2 * 3 * 5 * 7


def test_convolutions_and_products_are_counted_apart():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 5))
    counts = flops_by_kind(lambda: net(torch.randn(2, 3, 8, 8)).sum().backward())
    convolution, product = 2 * 2 * 36 * 3 * 9 * 4, 2 * 2 * 4 * 36 * 5
    # The gradient of the images is nobody's.
    assert counts == dict(convolution=2 * convolution, product=3 * product)
    assert flops_by_kind(lambda: None) == dict(convolution=0, product=0)
