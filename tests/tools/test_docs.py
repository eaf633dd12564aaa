"""Links of README and docs, which no reader reports when they break."""

import posixpath
import re
from pathlib import Path

import pytest

from tests.conftest import REPO

PAGES = sorted(str(path.relative_to(REPO)) for path in [*REPO.glob('*.md'), *REPO.glob('docs/**/*.md')])
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
    def pages_of(page: str) -> set[str]:
        links = {link.partition('#')[0] for link in LINK.findall((REPO / page).read_text(encoding='utf-8'))}
        paths = [((REPO / page).parent / link).resolve() for link in links if not link.startswith('http')]
        return {str(path.relative_to(REPO)) for path in paths}

    readme, chinese = pages_of('README.md'), 'docs/zh/README.md'
    assert chinese in readme
    assert {page for page in PAGES if page.startswith('docs/')} <= readme | pages_of(chinese)


# Chinese page -> the English pages from which its commands come; the first one decides where they differ.
CHINESE = {
    'README.md': ['README.md', 'docs/quick_start.md'],
    'quick_start.md': ['docs/quick_start.md', 'README.md', 'docs/reports.md'],
    'guides.md': ['docs/guides.md'],
    'predict.md': ['docs/predict.md'],
    'your_own_data.md': ['docs/your_own_data.md'],
}
BLOCK = re.compile(r'^```.*?^```$', re.MULTILINE | re.DOTALL)


def words_of_code(text: str) -> set[str]:
    """Return what stands in backticks outside of code blocks, also across a line's end."""
    return {' '.join(code.split()) for code in re.findall('`([^`]+)`', BLOCK.sub('', text))}


def second_line(page: Path) -> str:
    """Return what stands below the title."""
    return page.read_text(encoding='utf-8').split('\n\n')[1]


def test_every_chinese_page_has_an_english_one_that_is_checked():
    assert sorted(path.name for path in REPO.glob('docs/zh/*.md')) == sorted(CHINESE)


@pytest.mark.parametrize(('name', 'english'), [(name, pages[0]) for name, pages in CHINESE.items()])
def test_a_chinese_page_and_its_english_one_name_each_other_below_the_title(name, english):
    page = REPO / 'docs' / 'zh' / name
    back, there = LINK.findall(second_line(page)), LINK.findall(second_line(REPO / english))
    assert [(page.parent / link).resolve() for link in back] == [REPO / english]
    assert '以英文页面为准' in second_line(page)
    assert page in [((REPO / english).parent / link).resolve() for link in there]


@pytest.mark.parametrize(('name', 'english'), CHINESE.items())
def test_every_code_block_of_a_chinese_page_stands_in_its_english_one_word_for_word(name, english):
    blocks = BLOCK.findall((REPO / 'docs' / 'zh' / name).read_text(encoding='utf-8'))
    originals = [block for page in english for block in BLOCK.findall((REPO / page).read_text(encoding='utf-8'))]
    assert [block for block in blocks if block not in originals] == []
    assert blocks or name == 'guides.md'


@pytest.mark.parametrize('name', CHINESE)
def test_a_chinese_page_names_no_option_file_or_command_that_the_english_pages_do_not(name):
    english = [page for page in PAGES if not page.startswith('docs/zh/')]
    known = '\n'.join((REPO / page).read_text(encoding='utf-8') for page in english)
    words = words_of_code((REPO / 'docs' / 'zh' / name).read_text(encoding='utf-8'))
    assert len(words) > 10
    assert [word for code in words for word in code.split() if word not in known] == []


def test_the_chinese_guides_have_the_rows_commands_words_and_links_of_the_english_ones():
    def rows_of(page: Path) -> list[list[str]]:
        lines = re.findall(r'^\| (\d.*) \|$', page.read_text(encoding='utf-8'), re.MULTILINE)
        return [re.split(r'(?<!\\) \| ', line) for line in lines]

    def targets(cell: str, folder: Path) -> list[str]:
        return sorted(posixpath.normpath(folder / link) for link in LINK.findall(cell))

    chinese, english = rows_of(REPO / 'docs/zh/guides.md'), rows_of(REPO / 'docs/guides.md')
    assert [(row[0], row[3]) for row in chinese] == [(row[0], row[3]) for row in english]
    assert len(chinese) == 136
    for (number, says, here, _), (_, said, there, _) in zip(chinese, english, strict=True):
        assert words_of_code(said) <= words_of_code(says), number
        # A word of code by which a reader searches: it has an underscore or a dot.
        assert set(re.findall(r'[A-Za-z]\w*_\w+', said)) <= set(re.findall(r'[A-Za-z]\w*_\w+', says)), number
        assert words_of_code(there) == words_of_code(here), number
        if number != '110':  # the row about these pages: each points to those of the other language
            assert targets(here, REPO / 'docs/zh') == targets(there, REPO / 'docs'), number
