import pytest
import torch

from mmopt.ops.bev_labels import decode_label_bits, encode_label_bits


def test_each_bit_becomes_its_map_and_bit_14_is_inverted():
    bits = torch.tensor([[0b1, 0b10_0000_0000_0000], [1 << 14, 0b101]], dtype=torch.int32)
    maps = decode_label_bits(bits)
    assert maps.shape == (15, 2, 2)
    assert maps.dtype == torch.bool
    assert maps[0].tolist() == [[True, False], [False, True]]
    assert maps[2].tolist() == [[False, False], [False, True]]
    assert maps[13].tolist() == [[False, True], [False, False]]
    assert maps[14].tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize('dtype', [torch.int32, torch.int64, torch.uint16])
def test_encoding_undoes_decoding(dtype):
    bits = torch.randint(0, 1 << 15, (2, 5, 7)).to(dtype)
    assert torch.equal(encode_label_bits(decode_label_bits(bits)), bits.to(torch.int32))


def test_fourteen_maps_count_everywhere():
    classes = torch.rand(14, 3, 4) > 0.5
    decoded = decode_label_bits(encode_label_bits(classes))
    assert torch.equal(decoded[:14], classes)
    assert decoded[14].all()


def test_other_numbers_of_maps_are_rejected():
    with pytest.raises(ValueError, match=r'expected 14 class maps, or 15.*got 3 in a tensor of shape \(3, 2, 2\)'):
        encode_label_bits(torch.zeros(3, 2, 2, dtype=torch.bool))
