"""Packaging of mmopt: what it needs, and the extras that only some users need."""

from pathlib import Path

from setuptools import find_packages, setup


def read_requirements(name: str) -> list[str]:
    """Return the requirements in ``requirements/<name>.txt``, without comments and empty lines."""
    lines = Path(__file__).with_name('requirements').joinpath(f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith('#')]


# One extra per task, so that nobody installs what only another task needs.
TASK_EXTRAS = {name: read_requirements(name) for name in ('detection', 'nuscenes', 'tad', 'video')}
LITE = read_requirements('lite')

setup(
    name='mmopt',
    version='0.1.0',
    description='Train five vision tasks from MMCV-1.x style configs: fast, in little memory, and proven',
    long_description=Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11,<3.14',
    packages=find_packages(include=['mmopt', 'mmopt.*']),
    package_data={'mmopt': ['py.typed']},
    install_requires=read_requirements('runtime'),
    extras_require={
        'lite': LITE,
        **TASK_EXTRAS,
        'gpu': read_requirements('gpu'),
        'export': read_requirements('export'),
        'dev': read_requirements('dev'),
        'all': LITE + sum(TASK_EXTRAS.values(), []) + read_requirements('export'),
    },
)
