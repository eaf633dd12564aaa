"""What the site has beside `docs/`: the README as its first page, the measured results, and the public names.

MkDocs calls the functions that begin with ``on_`` (https://www.mkdocs.org/user-guide/configuration/#hooks). A page is
written once, for readers of the repository: links that leave `docs/` are turned into links within the site here, and
those to files that the site has not become plain text.
"""

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

REPO = Path(__file__).resolve().parents[2]
PAGES = {'README.md': 'index.md', 'CHANGELOG.md': 'changelog.md', 'CONTRIBUTING.md': 'contributing.md'}
RESULTS = 'benchmarks/results'
PUBLIC = ('mmopt.apis', 'mmopt.engine', 'mmopt.structures', 'mmopt.datasets.common')
CODE = re.compile(r'(```.*?```|`[^`\n]*`)', re.DOTALL)
LINK = re.compile(r'(!?)\[([^\]]*)\]\(([^)\s]+)\)')


def on_config(config: Any) -> Any:
    """List the measured results in the navigation."""
    config.nav[-1]['Results'] += [page for page in _sources().values() if page.startswith('results/')]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not written in `docs/`."""
    for source, page in _sources().items():
        files.append(File.generated(config, page, abs_src_path=str(REPO / source)))
    for path in sorted((REPO / RESULTS).rglob('*.png')):
        files.append(File.generated(config, _result(path), abs_src_path=str(path)))
    files.append(File.generated(config, 'api.md', content=_public_names()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let the links of a page count from where it lies in the site."""
    here = page.file.src_uri
    source = {site: repo for repo, site in _sources().items()}.get(here, f'docs/{here}')
    parts = CODE.split(markdown)
    parts[::2] = [LINK.sub(lambda link: _moved(link, source, here), part) for part in parts[::2]]
    if here.startswith('results/') and not markdown.startswith('# '):
        return f'# {Path(here).stem.replace("_", " ")}\n\n' + ''.join(parts)
    return ''.join(parts)


def _sources() -> dict[str, str]:
    """Return the files of the repository that are pages: path in the repository -> path in the site."""
    results = {str(path.relative_to(REPO)): _result(path) for path in sorted((REPO / RESULTS).rglob('*.md'))}
    return PAGES | results


def _result(path: Path) -> str:
    return f'results/{path.relative_to(REPO / RESULTS).as_posix()}'


def _moved(link: re.Match, source: str, here: str) -> str:
    picture, text, target = link.groups()
    if target.startswith(('http://', 'https://', 'mailto:', '#')):
        return link[0]
    name, mark, anchor = target.partition('#')
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), name))
    page = _sources().get(path)
    if page is None and path.startswith('docs/'):
        page = path.removeprefix('docs/')
    if page is None and path.startswith(RESULTS) and path.endswith('.png'):
        page = f'results{path.removeprefix(RESULTS)}'
    if page is None:
        return text if text.startswith('`') else f'{text} (`{path}`)'
    return f'{picture}[{text}]({posixpath.relpath(page, posixpath.dirname(here) or ".")}{mark}{anchor})'


def _public_names() -> str:
    """Write a page that asks for the docstring of every public name, read without importing anything."""
    lines = ['# API reference', '', 'What the packages below export is public; the changelog says what that means.']
    for package in PUBLIC:
        init = REPO / package.replace('.', '/') / '__init__.py'
        lines += ['', f'## {package}', '', ast.get_docstring(ast.parse(init.read_text(encoding='utf-8'))) or '']
        lines += [f'\n::: {home}\n    options:\n      heading_level: 3' for home in _homes(package, init)]
    return '\n'.join(lines) + '\n'


def _homes(package: str, init: Path) -> list[str]:
    """Return the dotted names under which the exported classes and functions of a package are defined."""
    homes, exported = {}, set()
    for node in ast.parse(init.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith(package):
            homes |= {alias.name: f'{node.module}.{alias.name}' for alias in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_HOME':
            assert isinstance(node.value, ast.Call)  # dict(Name='module')
            home = {word.arg: ast.literal_eval(word.value) for word in node.value.keywords}
            homes |= {name: f'{package}.{module}.{name}' for name, module in home.items()}
            exported |= set(home)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__':
            exported |= set(ast.literal_eval(node.value)) if isinstance(node.value, ast.List) else set()
    modules = {name for name in homes if (init.parent / f'{name}.py').is_file() or (init.parent / name).is_dir()}
    return [homes[name] for name in sorted(exported & set(homes) - modules)]
