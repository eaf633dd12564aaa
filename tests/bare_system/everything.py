"""Import all of mmopt, ask every tool for help, and train the toy task, in a system that has little: ``FOLDER``.

Run with this folder in PYTHONPATH, so that :mod:`sitecustomize` has taken away what Windows lacks. Prints ``ok`` at the
end; whatever fails, raises.
"""

import importlib
import json
import pkgutil
import runpy
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

CONFIG = """
model = dict(type='ToyModel')
data = dict(
    samples_per_gpu=4,
    workers_per_gpu=0,
    train=dict(type='ToyDataset'),
    val=dict(type='ToyDataset', length=6, noise=0.0),
)
optimizer = dict(type='AdamW', lr=0.01)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='fixed')
runner = dict(type='IterBasedRunner', max_iters=6)
checkpoint_config = dict(by_epoch=False, interval=3)
evaluation = dict(interval=3, metric=dict(type='ToyError'), save_best='error', rule='less')
log_config = dict(interval=2, hooks=[dict(type='TextLoggerHook', by_epoch=False)])
dist_params = dict(backend='gloo')
seed = 5
mp_start_method = 'fork'
custom_imports = dict(imports=['tests.engine.toy'], allow_failed_imports=False)
"""


def import_everything() -> int:
    """Import every module of mmopt and return how many there are."""
    import mmopt

    names = [module.name for module in pkgutil.walk_packages(mmopt.__path__, 'mmopt.')]
    for name in names:
        importlib.import_module(name)
    return len(names)


def run(tool: Path, *arguments: str) -> str:
    """Run a tool in this process, which has the imports, and return what it printed."""
    sys.argv = [str(tool), *arguments]
    said, code = StringIO(), None
    with redirect_stdout(said):
        try:
            runpy.run_path(str(tool), run_name='__main__')
        except SystemExit as stop:
            code = stop.code
    assert not code, (tool, code, said.getvalue())
    return said.getvalue()


def ask_for_help() -> int:
    """Run every tool with ``--help`` and return how many there are."""
    tools = [path for path in sorted(REPO.glob('tools/**/*.py')) if "__name__ == '__main__'" in path.read_text('utf-8')]
    for path in tools:
        assert 'usage:' in run(path, '--help'), path
    return len(tools)


def dry_run(folder: Path) -> str:
    """Run ``tools/train.py --dry-run`` and return what it printed."""
    return run(REPO / 'tools' / 'train.py', str(folder / 'toy.py'), '--work-dir', str(folder / 'dry'), '--dry-run')


def train(folder: Path, name: str, options: Sequence[str] = ()) -> str:
    """Train as ``tools/train.py`` does, without pictures, which the toy task has none of; return what was printed."""
    from mmopt.apis.config import load_config
    from mmopt.apis.run.train import train
    from tests.conftest import forget_mmengine_globals

    forget_mmengine_globals()
    said = StringIO()
    with redirect_stdout(said):
        summary = train(load_config(folder / 'toy.py', options=options, work_dir=str(folder / name)), num_pictures=0)
    assert summary.exit_code == 0
    return said.getvalue()


def weights(folder: Path, name: str) -> dict:
    import torch

    return torch.load(folder / name / 'iter_6.pth', weights_only=True)['state_dict']


def main() -> None:
    import torch

    folder = Path(sys.argv[1])
    (folder / 'toy.py').write_text(CONFIG, encoding='utf-8')
    counts = dict(modules=import_everything(), tools=ask_for_help())
    dry = dry_run(folder)
    assert '6 iterations' in dry
    assert not (folder / 'dry').exists()
    plain = train(folder, 'plain')
    workers = train(folder, 'workers', ['data.workers_per_gpu=1', 'data.persistent_workers=True'])
    for said in (plain, workers):
        assert 'peak memory' in said
    for first, second in zip(*(weights(folder, name).values() for name in ('plain', 'workers')), strict=True):
        assert torch.equal(first, second)
    summary = json.loads((folder / 'workers' / 'summary.json').read_text('utf-8'))
    counts['error'] = summary['metrics']['error']
    print('ok', json.dumps(counts))


if __name__ == '__main__':
    main()
