import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmopt.apis.cli.errors import explain, run_tool
from mmopt.registry import MODELS
from mmopt.utils.errors import UserError


def raised(function, *args, **kwargs) -> BaseException:
    """Return the error with its traceback, as a tool would catch it."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 the tests look at the text
        function(*args, **kwargs)
    return caught.value


class CliToyBase:
    def __init__(self, channels: int) -> None:
        self.channels = channels


@MODELS.register_module()
class CliToyModel(CliToyBase):
    def __init__(self, depth: int = 1, **kwargs) -> None:
        super().__init__(**kwargs)
        self.depth = depth


def leave(main) -> int:
    with pytest.raises(SystemExit) as caught:
        run_tool(main)
    return caught.value.code


def throw(error: BaseException):
    raise error


def test_a_users_error_is_one_line_and_exit_code_2(capsys):
    assert leave(lambda: throw(UserError('data/x does not exist; make it with make_demo.'))) == 2
    assert capsys.readouterr().err == 'error: data/x does not exist; make it with make_demo.\n'


def test_a_rank_says_which_it_is(capsys, monkeypatch):
    monkeypatch.setenv('RANK', '3')
    leave(lambda: throw(UserError('no')))
    assert capsys.readouterr().err == 'error: [rank 3] no\n'


def test_ctrl_c_leaves_with_130(capsys):
    assert leave(lambda: throw(KeyboardInterrupt())) == 130
    assert 'stopped by Ctrl-C' in capsys.readouterr().err


def test_the_exit_code_of_main_is_kept():
    assert leave(lambda: None) == 0
    assert leave(lambda: 1) == 1


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_tool(lambda: 1 // 0)


def test_debugging_shows_every_traceback(monkeypatch):
    monkeypatch.setenv('MMOPT_DEBUG', '1')
    with pytest.raises(UserError, match='no'):
        run_tool(lambda: throw(UserError('no')))


def test_an_unknown_type_names_the_nearest():
    text = explain(raised(MODELS.build, dict(type='CliToyModl')))
    assert text.startswith("type='CliToyModl' is not a known model. Did you mean CliToyModel")


def test_a_type_of_another_registry_is_recognized():
    assert 'It is a hook, not a model.' in explain(raised(MODELS.build, dict(type='EMAHook')))


def test_an_unknown_argument_names_the_nearest_of_all_bases():
    error = raised(MODELS.build, dict(type='CliToyModel', chanels=1))
    assert explain(error) == "CliToyBase has no argument 'chanels'. Did you mean channels?"


def test_a_missing_file_is_named():
    assert explain(raised(open, 'no/such/file')) == 'no/such/file: No such file or directory.'


def test_a_value_error_is_a_message_only_where_we_raised_it():
    from mmopt.structures import split_batch

    assert explain(ValueError('from nowhere')) is None
    assert 'at least 1, got 0' in explain(raised(split_batch, dict(inputs=torch.zeros(1)), 0))
    assert explain(raised(torch.zeros(2).view, 3)) is None


def test_a_slip_in_our_own_code_is_a_bug_and_no_message():
    from mmopt.structures import split_batch

    assert explain(raised(split_batch, dict(inputs=torch.zeros(1)), None)) is None


def test_a_package_that_is_not_installed_is_named():
    assert 'pip install no_such_package' in explain(raised(__import__, 'no_such_package.part'))


def test_an_error_of_a_worker_is_cut_down_to_its_message():
    class Broken(Dataset):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> None:
            from mmopt.structures import split_batch

            split_batch(dict(inputs=torch.zeros(1)), 0)

    error = raised(next, iter(DataLoader(Broken(), num_workers=1)))
    assert 'Original Traceback' in str(error)
    assert 'Traceback' not in explain(error)
    assert 'at least 1, got 0' in explain(error)


def test_out_of_memory_names_the_remedy():
    assert 'optimize.micro_batch=auto' in explain(RuntimeError('CUDA out of memory. Tried to allocate 2 GiB'))
