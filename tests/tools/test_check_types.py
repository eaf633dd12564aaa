"""tools/dev/check_types.py, with a script that prints in the place of mypy."""

import sys

import pytest

LINES = [
    'mmopt/config/lower.py:3: error: Incompatible types  [arg-type]',
    'mmopt/engine/optim/lars.py:7: error: Missing argument  [call-arg]',
    'mmopt/engine/optim/lars.py:7: note: See the definition',
    'mmopt/engine/runner.py:9: error: Missing argument  [call-arg]',
    'Found 3 errors in 3 files (checked 377 source files)',
]


@pytest.fixture
def check(tool):
    return tool('dev/check_types')


def test_errors_count_for_the_package_of_their_file(check):
    found = check.by_package(LINES)
    assert {package: len(errors) for package, errors in found.items()} == {'mmopt.config': 1, 'mmopt.engine': 2}


def test_more_errors_than_allowed_fail_and_are_listed(check):
    failures, gains = check.compare(check.by_package(LINES), {'mmopt.engine': 2})
    assert failures == [LINES[0], 'mmopt.config: 1 type errors where 0 are allowed: mend the new ones.']
    assert gains == []


def test_fewer_errors_than_allowed_ask_for_a_lower_number(check):
    failures, gains = check.compare(check.by_package(LINES), {'mmopt.config': 1, 'mmopt.engine': 5, 'mmopt.models': 4})
    assert failures == []
    assert [gain.partition(' of pyproject')[0] for gain in gains] == [
        'mmopt.engine: 2 type errors where 5 are allowed: lower engine in [tool.mmopt.type-errors]',
        'mmopt.models: 0 type errors where 4 are allowed: lower models in [tool.mmopt.type-errors]',
    ]


@pytest.mark.parametrize(
    ('code', 'rc'),
    [
        ("print('Success: no issues found in 377 source files')", 0),
        (f'print({LINES[0]!r}); raise SystemExit(1)', 1),
        ("import sys; print('mypy: cannot read', file=sys.stderr); sys.exit(2)", 2),
    ],
    ids=['clean', 'an error in a clean package', 'mypy itself fails'],
)
def test_the_exit_code_tells_whether_lint_passes(check, code, rc):
    assert check.main([sys.executable, '-c', code]) == rc
