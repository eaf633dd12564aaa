"""A reader that goes away ends no training, and other tools without a word."""

import os
import subprocess
import sys
import textwrap

import pytest

_TOOL = """
import logging, sys
from mmopt.apis import run_tool
from pathlib import Path

def main():
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format='%(message)s')
    print('first', flush=True)
    sys.stdin.readline()  # until the reader is gone
    for _ in range(3):
        logging.info('line')
        print('text', flush=True)
    Path(sys.argv[1]).write_text('done')

run_tool(main, goes_on=sys.argv[2] == 'on')
"""


def run_without_reader(tmp_path, mode: str, *, shared: bool = False) -> tuple[int, str, bool]:
    """Let a tool lose its reader after the first line; ``shared``: standard error goes into the same pipe."""
    read, write = os.pipe()
    tool = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(_TOOL), str(tmp_path / 'made'), mode],
        stdin=subprocess.PIPE,
        stdout=write,
        stderr=write if shared else subprocess.PIPE,
        text=True,
    )
    os.close(write)
    with open(read, encoding='utf-8') as reader:
        assert reader.readline() == 'first\n'
    _, errors = tool.communicate('go\n', timeout=60)
    return tool.returncode, errors or '', (tmp_path / 'made').exists()


@pytest.mark.parametrize('shared', [False, True])
def test_a_training_goes_on_without_a_reader_and_says_so_once(tmp_path, shared):
    code, errors, made = run_without_reader(tmp_path, 'on', shared=shared)
    assert code == 0
    assert made
    if not shared:
        assert errors.count('\n') == 1
        assert 'goes on' in errors


@pytest.mark.parametrize('shared', [False, True])
def test_another_tool_ends_without_a_word(tmp_path, shared):
    code, errors, made = run_without_reader(tmp_path, 'off', shared=shared)
    assert (code, errors, made) == (141, '', False)
