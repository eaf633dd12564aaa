"""Puts what ships beside the code into the package; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# Where :mod:`mmopt.utils.shipped` looks for them.
_SHIPPED = {
    'configs': ('configs', ['**/*.py']),
    'tools': ('tools', ['*.py', 'datasets/*.py']),
    'benchmarks/tables': ('tables', ['*.py']),
}


class BuildWithShipped(build_py):
    """Copy configs, tools and tables to ``mmopt/.mim``; an editable install finds them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source, (name, patterns) in _SHIPPED.items():
            for path in [path for pattern in patterns for path in sorted(Path(source).glob(pattern))]:
                target = Path(self.build_lib, 'mmopt', '.mim', name, path.relative_to(source))
                target.parent.mkdir(parents=True, exist_ok=True)
                self.copy_file(str(path), str(target))


setup(cmdclass=dict(build_py=BuildWithShipped))
