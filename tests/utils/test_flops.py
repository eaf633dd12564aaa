import torch
from torch.nn.functional import scaled_dot_product_attention

from mmopt.utils.flops import count_flops


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
