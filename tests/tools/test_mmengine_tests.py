"""tools/dev/mmengine_tests.py, without MMEngine's tests."""

import pytest

from tests.conftest import REPO

PAGE = """
## Deviations from MMEngine
| what differs, and why | tests of MMEngine |
|---|---|
| Another order. | `test_a.py::TestA::test_one` `test_b.py::test_two` |
| No such list. | `test_a.py::TestA::test_three` |

## Another section
| not read | `test_c.py::test_four` |
"""
REPORT = """<testsuites><testsuite>
<testcase classname="tests.test_hooks.test_a.TestA" name="test_one" />
<testcase classname="tests.test_hooks.test_a.TestA" name="test_three"><failure>no</failure></testcase>
<testcase classname="tests.test_hooks.test_b" name="test_two"><skipped>no GPU</skipped></testcase>
<testcase classname="tests.test_hooks.test_b" name="test_five"><error>no</error></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def judge(tool):
    return tool('dev/mmengine_tests')


def test_the_page_lists_each_test_with_its_reason(judge):
    assert judge.read_deviations(PAGE) == {
        'test_a.py::TestA::test_one': 'Another order.',
        'test_b.py::test_two': 'Another order.',
        'test_a.py::TestA::test_three': 'No such list.',
    }


def test_a_page_without_the_section_is_refused(judge):
    with pytest.raises(ValueError, match='there is no section'):
        judge.read_deviations('nothing')


def test_every_row_of_the_real_page_names_a_test_and_a_reason(judge):
    known = judge.read_deviations(judge.PAGE.read_text(encoding='utf-8'))
    assert known
    assert all(reason.endswith('.') for reason in known.values())
    assert REPO in judge.PAGE.parents


def test_only_what_passes_with_mmengine_and_fails_with_mmopt_is_a_difference(judge):
    stock = {'new': True, 'listed': True, 'both': True, 'broken': False, 'gone': True, 'lost': True}
    ours = {'new': False, 'listed': False, 'both': True, 'broken': False, 'gone': True}
    known = {'listed': 'a reason', 'gone': 'another'}
    assert judge.compare(stock, ours, known) == (['listed'], ['new', 'lost'], ['gone'])


def test_results_are_named_as_the_page_names_them(judge, tmp_path):
    path = tmp_path / 'report.xml'
    path.write_text(REPORT, encoding='utf-8')
    assert judge.read_results(path) == {
        'test_a.py::TestA::test_one': True,
        'test_a.py::TestA::test_three': False,
        'test_b.py::test_five': False,
    }


def test_without_the_network_the_script_asks_for_a_checkout(judge, tmp_path, monkeypatch):
    one, other = tmp_path / 'one', tmp_path / 'other'
    one.mkdir()
    other.mkdir()
    monkeypatch.setattr(judge, 'ARCHIVE', f'file://{tmp_path}/no-such-{{}}.tar.gz')
    with pytest.raises(SystemExit, match='give a checkout of it: --source DIR'):
        judge.get_source(one, None, '0.10.7')
    with pytest.raises(SystemExit, match='there is no folder tests in it'):
        judge.get_source(other, tmp_path, '0.10.7')
