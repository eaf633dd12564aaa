import sys

import pytest

from mmopt.apis.commands import SHORT, main
from tests.conftest import REPO


def test_every_tool_is_a_command_with_one_line_of_help(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    names = [line.split()[0] for line in lines]
    scripts = [*REPO.glob('tools/*.py'), *REPO.glob('tools/datasets/*.py')]
    assert {SHORT.get(name, name) for name in names} == {path.stem for path in scripts}
    assert {'train', 'test', 'predict', 'tune', 'benchmark', 'estimate', 'doctor', 'demo', 'convert', 'export'} <= {
        *names
    }
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize('name', ['publish-model', 'convert', 'convert_config', 'train.py'])
def test_a_command_runs_its_script_with_the_arguments_under_its_own_name(monkeypatch, capsys, name):
    monkeypatch.setattr(sys, 'argv', ['mmopt'])
    own = sys.modules['__main__']
    with pytest.raises(SystemExit) as stop:
        main([name, '--help'])
    assert stop.value.code == 0
    called = name.removesuffix('.py').replace('-', '_')
    assert capsys.readouterr().out.startswith(f'usage: mmopt {called} ')
    # Messages such as the command that goes on with a stopped run name the command.
    assert sys.argv == [f'mmopt {called}', '--help']
    assert sys.modules['__main__'] is own


def test_a_slip_is_answered_with_the_nearest_tool(capsys):
    assert main(['tarin']) == 2
    assert capsys.readouterr().err == "error: mmopt has no tool 'tarin'. Did you mean train?\n"
