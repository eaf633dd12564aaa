"""A first look at a repository written for mmcv 1.x: ``python -m mmopt.mmcv1 tools/train.py``.

Runs the imports of a script, or imports a package with all its modules, with the layer on. Prints which packages are
missing, which names of mmcv nothing stands for, and where they are asked for. Nothing is trained.
"""

import argparse
import ast
import importlib
import pkgutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmopt.mmcv1.install import install
from mmopt.mmcv1.namespace.unknown import unknown_names
from mmopt.utils.errors import UserError

__all__ = ['first_look', 'main']


def _imports(path: Path) -> Iterator[ast.stmt]:
    """Yield the import statements of a script, those inside of functions, too."""
    try:
        tree = ast.parse(path.read_text(encoding='utf-8', errors='replace'), str(path))
    except SyntaxError as error:
        raise UserError(f'{path}:{error.lineno}: {error.msg}.') from error
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def _run(statement: ast.stmt, path: Path, failures: dict[str, str]) -> set[str]:
    """Run one import; returns the top-level packages that it names."""
    module = ast.Module([statement], [])
    place = f'{path}:{statement.lineno}'
    try:
        exec(compile(module, str(path), 'exec'), dict(__name__='first_look'))
    except Exception as error:  # whatever an imported module raises
        failures.setdefault(_reason(error), place)
    if isinstance(statement, ast.ImportFrom):
        return {(statement.module or '').split('.')[0]}
    assert isinstance(statement, ast.Import)
    return {alias.name.split('.')[0] for alias in statement.names}


def _reason(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        kind = 'module of mmcv' if error.name.startswith('mmcv.') else 'package'
        return f'{kind} {error.name} is missing'
    return f'{type(error).__name__}: {" ".join(str(error).split())[:200]}'


def _import_all(package: str, failures: dict[str, str]) -> int:
    """Import a package and all its modules; returns how many."""
    count = 1
    try:
        found = importlib.import_module(package)
    except Exception as error:
        failures.setdefault(_reason(error), package)
        return count
    for module in pkgutil.walk_packages(getattr(found, '__path__', []), f'{package}.', lambda name: None):
        count += 1
        try:
            importlib.import_module(module.name)
        except Exception as error:
            failures.setdefault(_reason(error), module.name)
    return count


def first_look(target: str, package: str | None = None) -> str:
    """Import what a script or a package imports, and report.

    Args:
        target: A script, or the name of a package.
        package: The package whose mmcv version is reported; found out if None.

    Returns:
        The report.

    Raises:
        UserError: If the script does not exist or is broken.
    """
    path = Path(target)
    failures: dict[str, str] = {}
    if path.suffix == '.py':
        if not path.is_file():
            raise UserError(f'{path} does not exist (working folder {Path.cwd()}).')
        for root in (path.resolve().parent, *path.resolve().parents[1:2], Path.cwd()):
            if str(root) not in sys.path:
                sys.path.insert(0, str(root))
        version = install(package)
        statements = list(_imports(path))
        packages = set().union(*(_run(statement, path, failures) for statement in statements)) - {''}
        own = sorted(name for name in packages if _lies_near(name, path))
        counts = {name: _import_all(name, failures) for name in own}
        lines = [f'{path}: {len(statements)} imports; mmcv reported {version} at first']
    else:
        version = install(package or target)
        counts = {target: _import_all(target, failures)}
        lines = [f'{target}: mmcv reported {version} at first']
    lines += [f'  {name}: {count} modules' for name, count in counts.items()]
    lines += [f'  missing: {reason} (first in {place})' for reason, place in failures.items()]
    lines += [f'  not available, refused when it is used: {name} ({place})' for name, place in unknown_names.items()]
    if not failures:
        lines.append('  everything imports; next: mmopt train CONFIG')
    return '\n'.join(lines)


def _lies_near(name: str, script: Path) -> bool:
    """Tell whether a package belongs to the script's repository."""
    found = sys.modules.get(name)
    origin = getattr(found, '__file__', None)
    return origin is not None and Path(origin).resolve().is_relative_to(script.resolve().parents[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report.

    Args:
        argv: Arguments; None: the process's. What follows the script is the script's own and not used.

    Returns:
        0 if everything imports, else 1.
    """
    parser = argparse.ArgumentParser(prog='python -m mmopt.mmcv1', description=__doc__)
    parser.add_argument('--package', help='package whose range of mmcv versions counts')
    parser.add_argument('target', help='a script such as tools/train.py, or the name of a package')
    parser.add_argument('rest', nargs=argparse.REMAINDER, help="the script's own arguments: not used")
    args = parser.parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            report = first_look(args.target, args.package)
        except UserError as error:
            print(f'error: {error}', file=sys.stderr)
            return 2
    print(report)
    return 1 if '\n  missing: ' in report else 0


if __name__ == '__main__':
    sys.exit(main())
