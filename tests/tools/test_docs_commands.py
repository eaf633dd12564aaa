"""Every command in README and docs is one that its tool understands: parsed here, not run."""

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mmopt.apis.commands import SHORT
from mmopt.apis.config import load_config
from mmopt.utils.shipped import find_tools
from tests.conftest import REPO, load_script
from tests.tools.test_docs import BLOCK, PAGES, words_of_code

TOOLS = find_tools()
CONFIG = 'baseline/bisenetv2_cityscapes'
# What stands for something in a command -> an example of it.
EXAMPLES = {
    **{'CONFIG': CONFIG, 'X': CONFIG, 'CONFIG.py': CONFIG},
    **{'...': 'data.samples_per_gpu=2', '…': 'data.samples_per_gpu=2'},
    **{'N': '2', 'P': 'model', 'SECONDS': '5'},
}
ENDS = ('&&', '||', '|', ';', '>', '>>', '2>&1')
ASSIGNMENT = re.compile(r'^[A-Z_0-9]+=')


def pieces(text: str) -> Iterator[list[str]]:
    """Yield the commands of a line, word by word, without assignments before them."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:  # a text with an apostrophe, not a command
        return
    command: list[str] = []
    for word in [*words, ';']:
        if word in ENDS or (word.endswith(';') and word != ';'):
            yield command
            command = []
        elif command or not ASSIGNMENT.match(word):
            command.append(word)


def commands_of(page: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Return the tools that a page calls, each with its arguments."""
    text = page.read_text(encoding='utf-8')
    lines = [line for block in BLOCK.findall(text) for line in re.sub(r'\\\n\s*', ' ', block).splitlines()[1:-1]]
    inline = [code for code in sorted(words_of_code(text)) if code.startswith(('python tools/', 'tools/', 'mmopt '))]
    found = {}
    for words in (piece for line in [*lines, *inline] for piece in pieces(line)):
        call = call_of(words)
        if call is not None:
            found[call] = None
    return list(found)


def call_of(words: list[str]) -> tuple[str, tuple[str, ...]] | None:
    """Return a tool's path below ``tools`` and its arguments; None where no tool of ours is called."""
    if words[:1] == ['python'] and len(words) > 1:
        words = words[1:]
    if words[:2] == ['bash', 'tools/dist_train.sh'] and len(words) > 3:
        return 'train.py', (words[2], *words[4:])  # the number of GPUs is for the launcher
    if words and re.fullmatch(r'tools/[a-z0-9_/]+\.py', words[0]):
        return words[0].removeprefix('tools/'), tuple(words[1:])
    if words[:1] == ['mmopt'] and len(words) > 1 and words[1].islower() and not words[1].startswith('-'):
        path = TOOLS.get(SHORT.get(words[1], words[1]))
        return (str(path.relative_to(REPO / 'tools')) if path else words[1]), tuple(words[2:])
    return None


def arguments(words: tuple[str, ...]) -> list[str]:
    bare = [
        word.strip('[]').replace('/NAME.py', '/lss_swin_nuscenes.py')
        for word in words
        if word.strip('[].') or word == '...'
    ]
    return [EXAMPLES.get(word, word) for word in bare]


CALLS = [
    pytest.param(page, name, words, id=f'{page}: {name} {" ".join(words)}')
    for page in PAGES
    # The commands of Chinese pages are those of the English ones; test_guides.py parses those of the guides, whose rows
    # hold other people's as well.
    if page.startswith(('README', 'docs/')) and not page.startswith('docs/zh/') and page != 'docs/guides.md'
    for name, words in commands_of(REPO / page)
]
FLAGS = {
    flag
    for path in [*REPO.glob('tools/**/*.py'), *REPO.glob('mmopt/apis/cli/*.py')]
    for flag in re.findall(r"'(--[\w-]+)'", path.read_text(encoding='utf-8'))
}
FRONT = ('docs/faq.md', 'docs/quick_start.md', 'docs/tools.md')


@pytest.mark.parametrize(('page', 'name', 'words'), CALLS)
def test_a_command_of_a_page_is_understood_by_its_tool(page, name, words, capsys):
    assert (REPO / 'tools' / name).is_file(), f'{page} calls tools/{name}'
    shipped = [word for word in arguments(words) if word.startswith(('configs/baseline/', 'configs/demo/'))]
    assert [word for word in shipped if not (REPO / word).exists()] == []
    script = load_script(f'tools/{name}')
    if not hasattr(script, 'parse_args') or all(word.startswith('--') and word != '--help' for word in words):
        assert {word.partition('=')[0] for word in words} <= FLAGS
        return  # named, with some of its flags or none, not called
    args = None
    with suppress(SystemExit):
        args = script.parse_args(arguments(words))
    assert args is not None or '--help' in words, capsys.readouterr().err.splitlines()[-1]
    if page in FRONT and getattr(args, 'options', None):
        load_config(Path(args.config), options=args.options)  # every key is known


def test_the_front_pages_have_commands():
    for page, least in zip(FRONT, (8, 9, 10), strict=True):
        assert len({words for where, _, words in (call.values for call in CALLS) if where == page}) >= least


@pytest.mark.parametrize('page', FRONT)
def test_every_flag_that_a_page_names_alone_is_one_of_our_tools(page):
    codes = [code for code in words_of_code((REPO / page).read_text(encoding='utf-8')) if code.startswith('--')]
    assert [code for code in codes if code.split()[0] not in FLAGS] == []


@pytest.mark.parametrize(
    'option',
    sorted(
        {
            word
            for page in FRONT
            for code in words_of_code((REPO / page).read_text(encoding='utf-8'))
            if re.match(r'(--options )?[a-z_]+\.[\w.]+=', code)
            for word in code.removeprefix('--options ').split()
            if word != 'data.data_root=X'
        }
    ),
)
def test_every_option_that_a_page_names_alone_is_understood(option):
    assert load_config(CONFIG, options=[option]).model.type
