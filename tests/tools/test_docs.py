"""Links of README and docs, which no reader reports when they break."""

import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
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


def test_every_page_of_the_docs_can_be_reached_from_the_readme():
    readme = (REPO / 'README.md').read_text(encoding='utf-8')
    assert {page for page in PAGES if page.startswith('docs/')} <= {
        re.sub('#.*', '', link) for link in LINK.findall(readme)
    }
