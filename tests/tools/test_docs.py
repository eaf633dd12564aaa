"""Links of README and docs, which no reader reports when they break."""

import re
from pathlib import Path

import pytest

from tests.conftest import REPO

PAGES = sorted(str(path.relative_to(REPO)) for path in [*REPO.glob('*.md'), *REPO.glob('docs/*.md')])
LINK = re.compile(r'\]\(([^)\s]+)\)')


def anchors(page: Path) -> set[str]:
    """Return what headings are called in links: lower case, dashes, no punctuation."""
    headings = re.findall(r'^#+ (.*)$', page.read_text(encoding='utf-8'), flags=re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.strip().lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES)
def test_every_link_of_a_page_leads_somewhere(page):
    broken = []
    for link in LINK.findall((REPO / page).read_text(encoding='utf-8')):
        if link.startswith(('http://', 'https://')):
            continue
        name, _, anchor = link.partition('#')
        target = (REPO / page).parent / name if name else REPO / page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


# `tests/engine/test_runner.py::test_name`, `mmopt/utils/`; patterns such as `prepare_<name>.py` are no paths.
FILE = re.compile(r'`((?:mmopt|tests|tools|benchmarks|configs|requirements)/[\w/.-]+)(?:::\w+\*?)?`')
TEST = re.compile(r'`[\w/]*(test_\w+\.py)(?:::(\w+))?(\*?)`')


@pytest.mark.parametrize('page', PAGES)
def test_every_file_and_test_that_a_page_names_exists(page):
    # A row of the guides begins with what the guide says, which names files of its own.
    text = re.sub(r'^\| \d+ \| .*? \| ', '', (REPO / page).read_text(encoding='utf-8'), flags=re.MULTILINE)
    missing = [name for name in FILE.findall(text) if not (REPO / name).exists() and 'NAME' not in name]
    sources: dict[str, str] = {}
    for path in (REPO / 'tests').rglob('test_*.py'):  # several folders have a file of one name
        sources[path.name] = sources.get(path.name, '') + path.read_text(encoding='utf-8')
    for file, test, star in TEST.findall(text):
        definition = rf'def {test}' if star else rf'def {test}\('
        if file not in sources or (test and not re.search(definition, sources[file])):
            missing.append(f'{file}::{test}{star}')
    assert missing == []


def test_every_page_of_the_docs_can_be_reached_from_the_readme():
    readme = (REPO / 'README.md').read_text(encoding='utf-8')
    assert {page for page in PAGES if page.startswith('docs/')} <= {
        re.sub('#.*', '', link) for link in LINK.findall(readme)
    }
