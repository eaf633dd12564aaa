"""The config reference in the docs is what the tables of keys say."""

import pytest

from mmopt.config.keys import SECTIONS, TOP_LEVEL

COMMAND = 'python tools/dev/config_reference.py'


@pytest.fixture
def reference(tool):
    return tool('dev/config_reference')


def test_the_committed_page_is_what_the_tables_say(reference):
    page = reference.PAGE.read_text(encoding='utf-8')
    assert page == reference.render(), f'docs/config_reference.md is out of date: run {COMMAND}'


def test_the_page_names_every_key_and_every_reason(reference):
    page = reference.render()
    for section in (TOP_LEVEL, *SECTIONS.values()):
        for key, entry in section.keys.items():
            assert f'`{key}`' in page
            assert entry.meaning in page
            assert entry.dropped in page


def test_the_command_writes_the_page(reference, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference, 'PAGE', tmp_path / 'page.md')
    reference.main([])
    assert (tmp_path / 'page.md').read_text(encoding='utf-8') == reference.render()
    assert capsys.readouterr().out.startswith('wrote ')


@pytest.mark.parametrize('page', ['README.md', 'docs/migrating_from_mmcv1.md'])
def test_the_reference_is_linked(reference, page):
    assert 'config_reference.md' in (reference.PAGE.parents[1] / page).read_text(encoding='utf-8')
