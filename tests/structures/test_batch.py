import pytest
import torch

from mmopt.structures import DataSample, batch_size, split_batch


def make_batch(num_samples: int) -> dict:
    return dict(
        inputs=dict(image=torch.arange(num_samples * 2).view(num_samples, 2), scale=torch.tensor(3.0)),
        data_samples=[DataSample(metainfo=dict(sample_idx=i)) for i in range(num_samples)],
    )


def test_parts_cover_the_batch_in_order():
    parts = split_batch(make_batch(5), 2)
    assert [batch_size(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([part['inputs']['image'] for part in parts]), make_batch(5)['inputs']['image'])
    assert [s.sample_idx for part in parts for s in part['data_samples']] == list(range(5))


def test_parts_are_views():
    batch = make_batch(4)
    assert split_batch(batch, 2)[1]['inputs']['image'].data_ptr() == batch['inputs']['image'][2:].data_ptr()


def test_a_large_size_gives_the_batch_itself():
    batch = make_batch(3)
    assert split_batch(batch, 3)[0] is batch


@pytest.mark.parametrize('kind', [list, tuple])
def test_positional_batches_are_cut_argument_by_argument(kind):
    parts = split_batch(kind([torch.arange(5), torch.arange(10).view(5, 2)]), 2)
    assert [batch_size(part) for part in parts] == [2, 2, 1]
    assert [[x.tolist(), y.tolist()] for x, y in parts][2] == [[4], [[8, 9]]]


def test_disagreeing_parts_are_named():
    with pytest.raises(ValueError, match=r'give \[2, 3\]'):
        batch_size(dict(inputs=torch.zeros(3, 1), data_samples=[1, 2]))


def test_a_size_of_zero_is_refused():
    with pytest.raises(ValueError, match='at least 1, got 0'):
        split_batch(make_batch(2), 0)
