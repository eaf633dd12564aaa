import warnings

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmopt.apis.cli.errors import explain, run_tool
from mmopt.registry import MODELS
from mmopt.utils.errors import ConfigWarning, UserError


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


def test_an_argument_that_is_another_frameworks_word_names_the_key_here():
    text = explain(raised(MODELS.build, dict(type='CliToyModel', use_gradient_checkpointing=True)))
    assert text == (
        "CliToyBase has no argument 'use_gradient_checkpointing': it is a word of Hugging Face; write "
        'optimize.checkpointing=blocks.'
    )


def test_what_a_config_says_in_vain_is_one_line_and_other_warnings_are_pythons(monkeypatch):
    monkeypatch.setattr(warnings, 'formatwarning', warnings.formatwarning)  # put back afterwards
    leave(lambda: None)
    place = dict(filename='file.py', lineno=1)
    assert warnings.formatwarning(ConfigWarning('a=1 sets a name.'), ConfigWarning, **place) == (
        'warning: a=1 sets a name.\n'
    )
    assert warnings.formatwarning(UserWarning('x'), UserWarning, **place).startswith('file.py:1: UserWarning: x')
    monkeypatch.setenv('RANK', '1')
    assert warnings.formatwarning(ConfigWarning('rank 0 says it'), ConfigWarning, **place) == ''
    assert 'of one rank' in warnings.formatwarning(UserWarning('of one rank'), UserWarning, **place)


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
    text = explain(raised(__import__, 'mmengine.no_such_part.x'))
    assert 'mmengine is installed in' in text
    assert 'its release lacks this module' in text


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
    assert 'no kernel' in explain(RuntimeError('cuDNN error: CUDNN_STATUS_NOT_SUPPORTED.'))


# ---------------------------------------------------------------------------------------- code of the user's
_SCRIPT = """
import numpy as np
class Labels:
    def __getitem__(self, index):
        return np.zeros(3).astype(np.float)
    def __len__(self):
        assert self.names
class Wrong:
    def __init__(self):
        np.zeros(2, kind='x')
"""


@pytest.fixture
def users(tmp_path) -> dict:
    """Return what a file of the user's defines."""
    path = tmp_path / 'my_data.py'
    path.write_text(_SCRIPT)
    names: dict = {}
    exec(compile(_SCRIPT, str(path), 'exec'), names)
    return names


def test_an_error_in_users_code_names_file_line_and_function(users, tmp_path):
    text = explain(raised(MODELS.build, dict(type=users['Wrong'])))
    assert text.startswith(f'{tmp_path}/my_data.py:10, Wrong.__init__: TypeError: ')
    assert "'kind'" in text


def test_an_error_of_a_worker_in_users_code_names_file_and_line(users, tmp_path):
    error = raised(next, iter(DataLoader(users['Labels'](), num_workers=1, sampler=[0])))
    text = explain(error)
    assert text.startswith(
        f"{tmp_path}/my_data.py:5, __getitem__: AttributeError: module 'numpy' has no attribute 'float'"
    )
    assert 'Traceback' not in text


def test_the_traceback_of_an_error_in_users_code_is_in_the_log(users, tmp_path, capsys, monkeypatch):
    from mmengine.logging import MMLogger

    monkeypatch.chdir(tmp_path)
    MMLogger.get_instance('run', log_file=str(tmp_path / 'run.log'))
    assert leave(lambda: MODELS.build(dict(type=users['Wrong']))) == 2
    out = capsys.readouterr()
    assert out.err.count('\n') == 1
    assert out.err.endswith('(traceback: run.log)\n')
    assert 'Traceback' not in out.out
    log = (tmp_path / 'run.log').read_text()
    assert 'Traceback (most recent call last)' in log
    assert 'my_data.py", line 10' in log


def test_an_assertion_without_a_text_shows_its_line(users):
    from mmopt.apis.pictures.save import can_draw

    assert 'my_data.py:7, Labels.__len__: AttributeError' in explain(raised(can_draw, users['Labels']()))
    users['Labels'].names = ()
    assert explain(raised(can_draw, users['Labels']())).endswith('AssertionError: in `assert self.names`')
