"""tools/export.py and tools/benchmark.py --exported, as users call them."""

import pytest


def test_the_tools_print_it(tool, write_config, tmp_path, capsys):
    config = str(write_config())
    tool('export').main([config, '--out', 'toy.pt2', '--rounds', '2'])
    assert '| model | 1 |' in capsys.readouterr().out
    assert tool('benchmark').main([config, '--exported', 'pt2', '--batch', '2', '--iters', '2', '--out', 'report']) == 0
    text = (tmp_path / 'report.md').read_text()
    assert "| torch.export's archive | 2 |" in text
    assert text.strip() == capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    'argv',
    [['--table', 'bev', '--exported', 'pt2'], ['x.py', '--batch', '2'], ['x.py', '--exported', 'pt2', '--metric']],
)
def test_options_that_would_do_nothing_are_refused(tool, argv):
    with pytest.raises(SystemExit):
        tool('benchmark').main(argv)
