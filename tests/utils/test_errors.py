import pytest
from torch.utils.data import DataLoader, Dataset

from mmopt.utils.errors import DataError, DataNotFoundError, UserError


class _Broken(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        try:
            raise OSError('the cause')
        except OSError as error:
            raise DataError('a.png: broken.\nMake it again.') from error


@pytest.mark.parametrize('num_workers', [0, 1])
def test_an_error_from_a_worker_carries_its_text_alone(num_workers):
    batches = iter(DataLoader(_Broken(), num_workers=num_workers))
    with pytest.raises(DataError) as caught:
        next(batches)
    if num_workers:
        batches._shutdown_workers()  # the garbage collector would take 5 s for it
    assert str(caught.value) == 'a.png: broken.\nMake it again.'


@pytest.mark.parametrize(('error', 'builtin'), [(DataNotFoundError, FileNotFoundError), (DataError, ValueError)])
def test_a_user_error_is_also_the_builtin_error_that_callers_expect(error, builtin):
    assert issubclass(error, UserError)
    assert issubclass(error, builtin)
    assert str(error("no folder 'x'")) == "no folder 'x'"
