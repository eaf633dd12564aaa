"""docs/guides.md: every row of the five guides, answered with words and commands that work."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from mmopt.apis.cli.flags import config_arguments
from mmopt.apis.commands import SHORT, main
from mmopt.apis.config import load_config
from mmopt.config.words.foreign import word_of
from mmopt.datasets.demos import DEMOS
from tests.conftest import REPO, load_script

PAGE = REPO / 'docs' / 'guides.md'


class Row(NamedTuple):
    number: int
    says: str
    here: str
    command: str


def rows_of(text: str) -> list[Row]:
    cells = [re.split(r'(?<!\\) \| ', line[2:-2]) for line in text.splitlines() if re.match(r'\| \d', line)]
    return [Row(int(number), says, here, command.strip('`')) for number, says, here, command in cells]


ROWS = rows_of(PAGE.read_text(encoding='utf-8'))
COMMANDS = sorted({row.command for row in ROWS} - {'mmopt --help'})
DRY_RUNS = [command for command in COMMANDS if '--dry-run' in command]


def parsed(command: str):
    """Parse a command with its tool, and return the tool's name and the arguments."""
    name, *argv = shlex.split(command)[1:]
    name = SHORT.get(name, name)
    return name, load_script(f'tools/{name}.py').parse_args(argv)


def test_the_page_has_every_row_of_the_guides_in_order():
    assert [row.number for row in ROWS] == list(range(1, 137))
    assert all(row.command.startswith('mmopt ') for row in ROWS)


def test_every_row_says_what_the_guide_says(shared_dir):
    source = (shared_dir / 'specs' / 'guides.md').read_text(encoding='utf-8')
    said = {int(found[1]): found[2] for found in re.finditer(r'^\| (\d+) \| (.*?) \| ', source, flags=re.MULTILINE)}
    assert {row.number: row.says for row in ROWS} == said


# Words that stand for another thing where they appear: a method, not the setting.
OTHERS = {(81, 'v'), (130, 'persistent_workers')}


def test_a_row_answers_as_an_option_in_the_guides_word_is_answered():
    wrong, num_checked = [], 0
    for row in ROWS:
        for token in re.findall(r'[A-Za-z_][\w.]*[\w]', row.says):
            word = word_of(token.rpartition('.')[2])
            key, equals, _ = word.ours.partition('=') if word else ('', '', '')
            if not equals or ' ' in key or '_' not in token:
                continue
            num_checked += 1
            if key.rpartition('.')[0] not in row.here or key.rpartition('.')[2] not in row.here:
                wrong.append((row.number, token, key, row.here))
    assert wrong == []
    assert num_checked > 15


@pytest.mark.parametrize('word', ['batch_size', 'learning_rate', 'ims_per_gpu', 'gradient_accumulation_steps', 'FP16'])
def test_the_page_is_found_by_the_words_of_the_guides(word):
    assert any(word in row.says for row in ROWS)


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_is_understood_and_its_config_can_be_read(command):
    _, args = parsed(command)
    if 'dry_run' in vars(args):
        cfg = load_config(**config_arguments(args))
        assert cfg.model.type
    elif Path(getattr(args, 'config', None) or '').suffix == '.py':
        assert load_config(args.config, options=getattr(args, 'options', [])).model.type


@pytest.fixture(scope='module')
def demos(tmp_path_factory) -> Path:
    """A folder in which the demo data of every task lies, two samples of each."""
    folder = tmp_path_factory.mktemp('demos')
    for name, demo in DEMOS.items():
        demo.make(folder / 'data' / 'demo' / name, num_train=2, num_val=2, num_workers=0)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize('command', DRY_RUNS)
def test_every_dry_run_of_the_page_runs(demos, monkeypatch, capsys, command):
    monkeypatch.chdir(demos)
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(command)[1:])
    assert stop.value.code == 0, capsys.readouterr().err
    assert 'parameters' in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize('command', [command for command in COMMANDS if command.startswith('mmopt estimate')])
def test_every_estimate_of_the_page_runs(monkeypatch, capsys, command):
    monkeypatch.setattr('sys.argv', ['mmopt'])
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(command)[1:])
    assert not stop.value.code
    assert 'GiB' in capsys.readouterr().out
