"""Puts the tools into the package, for the command ``mmopt``; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

_TOOLS = Path('tools')


class BuildWithTools(build_py):
    """Copy the scripts of ``tools`` to ``mmopt/_tools``; an editable install finds them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for path in [path for pattern in ('*.py', '*.sh', 'datasets/*.py') for path in sorted(_TOOLS.glob(pattern))]:
            target = Path(self.build_lib, 'mmopt', '_tools', path.relative_to(_TOOLS))
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(path), str(target))


setup(cmdclass=dict(build_py=BuildWithTools))
