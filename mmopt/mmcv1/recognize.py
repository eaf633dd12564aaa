"""Which configs need the layer: those that name code written for mmcv 1.x."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.utils import digit_version

from mmopt.config import is_native
from mmopt.config.schema import check_keys
from mmopt.mmcv1.namespace.versions import declared_range, source_of
from mmopt.registry import DATASETS, MODELS
from mmopt.utils.errors import UserError

__all__ = ['Repository', 'is_written_for_mmcv1', 'recognize']

_INSTALLED = ('mmseg', 'mmdet', 'mmcls', 'mmaction', 'mmpose', 'mmrotate', 'mmtrack', 'mmedit', 'mmocr', 'mmselfsup')
_ONLY_IN_1 = re.compile(
    r'^\s*(from\s+mmcv\.(runner|parallel|fileio|engine)\b|import\s+mmcv\.(runner|parallel)\b'
    r'|from\s+mmcv\.utils\s+import\s[^\n]*\b(Registry|build_from_cfg|print_log|get_logger)\b'
    r'|from\s+mmcv\s+import\s[^\n]*\b(Config|DictAction)\b)',
    re.MULTILINE,
)
_MAX_FILES = 600
_PARTS = ('models', 'datasets', 'core')
_SCRIPTS = ('utils', 'apis')  # what training scripts import: some have hooks and runners, many need more packages
_SAID = 'the config says so (mmcv1)'


@dataclass(frozen=True)
class Repository:
    """Code written for mmcv 1.x that a config needs.

    Attributes:
        imports: Modules to import, the package with the model first.
        version: The mmcv version that the config asks for; None to follow the package.
        roots: Folders from which they are imported, where they are not installed.
        optional: Of the modules, those without which the config goes on.
        reason: Why the layer is on, for the line that says so.
    """

    imports: tuple[str, ...]
    version: str | None
    roots: tuple[Path, ...]
    reason: str
    optional: tuple[str, ...] = ()

    @property
    def package(self) -> str | None:
        """The package whose version range counts."""
        return self.imports[0].split('.')[0] if self.imports else None

    def as_config(self) -> dict[str, Any]:
        """Return the section of a lowered config from which the same is recognized."""
        imported = [name for name in self.imports if name in sys.modules or name not in self.optional]
        section: dict[str, Any] = dict(package=imported, root=[str(root) for root in self.roots])
        return section if self.version is None else section | dict(version=self.version)


def is_written_for_mmcv1(folder: Path) -> bool:
    """Tell whether a package or a folder of modules uses what only mmcv 1.x has.

    Args:
        folder: The package's folder, or a single file.

    Returns:
        Whether its version range lies below 2, or a file imports from modules that mmcv 2 has not.
    """
    if folder.is_file():
        return _uses_it(folder)
    bounds = declared_range(folder / '__init__.py')
    if bounds is not None:
        return digit_version(bounds[0]) < digit_version('2.0.0rc0')
    files = sorted(folder.rglob('*.py'))[:_MAX_FILES]
    return any(_uses_it(path) for path in files)


def _uses_it(path: Path) -> bool:
    try:
        return _ONLY_IN_1.search(path.read_text(encoding='utf-8', errors='replace')) is not None
    except OSError:
        return False


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(item) for item in value or ()]


def _folder_of(module: str, roots: list[Path]) -> tuple[Path, Path | None] | None:
    """Return where a module lies without importing it, and the root that it needs in ``sys.path``."""
    parts = module.split('.')
    for root in roots:
        path = root.joinpath(*parts)
        if path.is_dir():
            return path, root
        if path.with_suffix('.py').is_file():
            return path.with_suffix('.py'), root
    init_file = source_of(parts[0])
    if init_file is not None:
        if len(parts) == 1:
            return (init_file.parent if init_file.name == '__init__.py' else init_file), None
        inside = init_file.parent.joinpath(*parts[1:])
        return (inside if inside.is_dir() else inside.with_suffix('.py')), None
    return None


def _plugin(cfg: Mapping[str, Any], config_path: Path) -> list[str]:
    """Return the module that ``plugin`` and ``plugin_dir`` name, as repositories around MMDetection3D do."""
    if not cfg.get('plugin'):
        return []
    folder = str(cfg.get('plugin_dir') or config_path.parent)
    return ['.'.join(part for part in Path(folder.rstrip('/')).parts if part not in ('.', '/'))]


def _beside(config_path: Path) -> Iterator[Path]:
    """Yield packages for mmcv 1.x that lie in a folder above the config."""
    for folder in config_path.resolve().parents:
        if (folder / '__init__.py').exists():
            continue  # inside of a package
        packages = [path.parent for path in sorted(folder.glob('*/__init__.py')) if path.parent.name.isidentifier()]
        found = [package for package in packages if is_written_for_mmcv1(package)]
        yield from found
        if found or (folder / '.git').exists() or (folder / 'setup.py').exists():
            return  # the top of a repository


def _has_class(folder: Path, name: str) -> bool:
    pattern = re.compile(rf'^class\s+{re.escape(name)}\b', re.MULTILINE)
    return any(pattern.search(path.read_text(encoding='utf-8', errors='replace')) for path in folder.rglob('*.py'))


def _foreign_types(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Yield the types of the model and of the training set that mmopt does not have."""
    data = cfg.get('data')
    train = data.get('train') if isinstance(data, Mapping) else None
    while isinstance(train, Mapping) and isinstance(train.get('dataset'), Mapping):
        train = train['dataset']  # inside of RepeatDataset and its kind
    for nodes, section in ((MODELS, cfg.get('model')), (DATASETS, train)):
        kind = section.get('type') if isinstance(section, Mapping) else None
        if isinstance(kind, str) and nodes.get(kind) is None:
            yield kind


def _package_of(kind: str, config_path: Path) -> tuple[str, Path | None] | None:
    """Find the package that has a type, and the folder that it lies in where it is not installed."""
    scope, _, name = kind.rpartition('.')
    near = list(dict.fromkeys(_beside(config_path)))
    installed = [name for name in _INSTALLED if (path := source_of(name)) and is_written_for_mmcv1(path.parent)]
    if scope in installed:
        return scope, None
    for folder in near:
        if _has_class(folder, name):
            return folder.name, folder.parent
    found = [item for item in installed if (path := source_of(item)) and _has_class(path.parent, name)]
    return (found[0], None) if len(found) == 1 else None


def recognize(cfg: Mapping[str, Any], config_path: str | Path) -> Repository | None:
    """Tell whether a config needs code of mmcv 1.x, and which. Nothing is imported.

    Args:
        cfg: The config as it is written.
        config_path: Its file; paths of plugins count from the working folder, packages are looked for above the file.

    Returns:
        The repository; None where the layer stays off.

    Raises:
        UserError: If the config names a package that is not there.
    """
    config_path = Path(config_path)
    asked = cfg.get('mmcv1')
    if asked is False or (is_native(cfg) and asked is None):
        return None
    if asked is not None:
        check_keys('mmcv1', asked)
    asked = dict(asked or {})
    given_roots = tuple(Path(root) for root in _listed(asked.get('root')))
    if is_native(cfg):  # lowered before: all is said
        return Repository(tuple(_listed(asked.get('package'))), asked.get('version'), given_roots, _SAID)
    roots = list(dict.fromkeys([*given_roots, *config_path.resolve().parents, Path.cwd()]))
    named = _listed(asked.get('package'))
    custom = dict(cfg.get('custom_imports') or {})
    imports = [*_listed(custom.get('imports')), *_plugin(cfg, config_path)]
    needed: list[Path] = []
    reason = f'mmcv1.package={named[0]!r}' if named else ''
    for module in [*named, *imports]:
        found = _folder_of(module, roots)
        if found is None and module in named:
            raise UserError(
                f'mmcv1.package={module!r}: there is no such package, neither installed nor above {config_path}; '
                'install it, or put its folder into PYTHONPATH.'
            )
        if found is None:
            continue
        if found[1] is not None and find_spec(module.split('.')[0]) is None:
            needed.append(found[1])
        if not reason and is_written_for_mmcv1(found[0]):
            reason = f'{module} is written for it'
    if not named:
        for kind in _foreign_types(cfg):
            if (found_package := _package_of(kind, config_path)) is not None:
                named, root = [found_package[0]], found_package[1]
                needed += [] if root is None else [root]
                reason = reason or f'{found_package[0]} has {kind} and is written for it'
                break
    if not reason and 'mmcv1' not in cfg:
        return None
    modules = [part for name in named for part in (name, *_submodules(name, needed, _PARTS))]
    scripts = [part for name in named for part in _submodules(name, needed, _SCRIPTS)]
    return Repository(
        tuple(dict.fromkeys([*modules, *imports, *scripts])),
        asked.get('version'),
        tuple(dict.fromkeys(needed)),
        reason or _SAID,
        (*scripts, *(_listed(custom.get('imports')) if custom.get('allow_failed_imports') else ())),
    )


def _submodules(package: str, roots: list[Path], names: Sequence[str]) -> list[str]:
    """Return the parts of a package that register classes, which importing the package alone need not run."""
    found = _folder_of(package, roots)
    folder = None if found is None else found[0]
    if folder is None or not folder.is_dir():
        folder = None if folder is None else folder.parent
    return [f'{package}.{name}' for name in names if folder is not None and (folder / name / '__init__.py').is_file()]
