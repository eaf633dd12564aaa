#!/usr/bin/env python
"""One part of benchmarks/mmcv1_code.py, which starts it: PART NAME PACKAGES WORK RESULT NUM_MODELS."""

import contextlib
import importlib
import io
import json
import os
import pkgutil
import random
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from mmcv1_cases import cut_config, literal_lr
from mmcv1_speed import measure as measure_speed
from mmcv1_steps import step_all, without_downloads
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.utils import import_modules_from_strings

from mmopt.mmcv1.adapt.find import registry_of
from mmopt.mmcv1.adapt.model import without_untaken
from mmopt.mmcv1.install import install
from mmopt.mmcv1.lower import part_to_train
from mmopt.utils.platform import was_killed

ROOT = Path(__file__).resolve().parents[1]


class MetaModules(torch.overrides.TorchFunctionMode):
    """Make tensors on the meta device, but for the few numbers from which layers read their settings."""

    _READ = (torch.linspace, torch.arange, torch.tensor)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in self._READ and kwargs.get('device') is None:
            kwargs['device'] = 'cpu'
        return func(*args, **kwargs)


def import_all(package: str) -> dict[str, Any]:
    """Import every module of a package."""
    install(package)
    failures, count = {}, 0
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f'{package}.', lambda name: None):
        count += 1
        try:
            importlib.import_module(module.name)
        except Exception as error:
            failures[module.name] = f'{type(error).__name__}: {error}'
    return dict(modules=count, imported=count - len(failures), failures=failures)


def build_models(package: str, packages: Path, number: int) -> dict[str, Any]:
    """Build published models on the meta device, without the weights that some download when they are made."""
    install(package)
    importlib.import_module(f'{package}.models')
    folder = packages / package / '.mim' / 'configs'
    files = sorted(path for path in folder.rglob('*.py') if '_base_' not in path.parts)
    random.Random(0).shuffle(files)
    failures, tried = {}, 0
    for path in files:
        if tried == number:
            break
        try:
            cfg = Config.fromfile(path, import_custom_modules=False)
            if not cfg.get('model'):
                continue
            tried += 1
            _build(cfg)
        except Exception as error:
            failures[str(path.relative_to(folder))] = f'{type(error).__name__}: {" ".join(str(error).split())[:200]}'
    return dict(models=tried, built=tried - len(failures), failures=failures)


def _build(cfg: Config) -> torch.nn.Module:
    if cfg.get('custom_imports'):
        import_modules_from_strings(**cfg.custom_imports)
    model = part_to_train(cfg)
    for key in ('train_cfg', 'test_cfg'):
        if cfg.get(key) and model.get(key) is None:
            model[key] = cfg[key]
    registry = registry_of(model.type, 'model')
    if registry is None:
        raise KeyError(f'{model.type} is registered nowhere')
    model = Config(dict(model=without_downloads(model, keep_init=True))).model
    with torch.device('meta'), MetaModules(), contextlib.redirect_stdout(io.StringIO()):
        return registry.build(without_untaken(model, registry.get(model.type)))


def train(case: str, packages: Path, work: Path) -> dict[str, Any]:
    """Train a config by the tools and compare with a plain loop."""
    plain = cut_config(case, packages, work / 'data', work / 'configs')
    exact = cut_config(case, packages, work / 'data', work / 'configs', exact=True)
    runs = work / f'runs_{case}'
    run = run_tool('train.py', plain, '--work-dir', runs / 'plain')
    reference, keys = literal_losses(case, plain)
    resumed = run_tool('train.py', plain, '--work-dir', runs / 'resumed', '--resume-from', runs / 'plain/iter_3.pth')
    first, second = (torch.load(runs / name / 'iter_5.pth')['state_dict'] for name in ('plain', 'resumed'))
    facts: dict[str, Any] = dict(
        losses_bit_equal=f'{sum(a == b for a, b in zip(run, reference, strict=True))} of {len(reference)}',
        resumed_bit_equal=resumed == run[3:] and all(torch.equal(first[key], second[key]) for key in first),
        keys_equal=set(keys) == set(first),
    )
    killed, third = killed_and_resumed(plain, runs / 'killed')
    facts['killed_and_resumed_bit_equal'] = killed[-2:] == run[-2:] and all(
        torch.equal(first[key], third[key]) for key in first
    )
    whole = run_tool('train.py', exact, '--work-dir', runs / 'exact')
    parts = run_tool('train.py', exact, '--work-dir', runs / 'micro', '--options', 'optimize.micro_batch=2')
    facts['micro_batch_difference'] = f'{difference(parts, whole):.1e}'
    options = ('--options', 'data.samples_per_gpu=2', 'optimize.base_batch=4')
    two = run_tool('train.py', exact, '--work-dir', runs / 'two', '--launcher', 'pytorch', *options, processes=2)
    facts['two_processes_difference'] = f'{difference(two, whole):.1e}'
    for precision in ('fp16', 'bf16'):
        losses = run_tool('train.py', plain, '--work-dir', runs / precision, '--precision', precision)
        facts[f'{precision}_difference'] = f'{difference(losses, run):.1e}'
    facts['test'] = _runs('test.py', plain, runs / 'plain/iter_5.pth', '--work-dir', runs / 'test')
    facts['estimate_memory'] = _runs('estimate_memory.py', plain)
    facts['benchmark'] = _runs(
        'benchmark.py',
        plain,
        '--precision',
        'fp32',
        '--rounds',
        1,
        '--warmup',
        1,
        '--iters',
        2,
        '--out',
        runs / 'bench',
    )
    return facts


def difference(losses: list[float], reference: list[float]) -> float:
    """Return the largest relative difference of two runs."""
    return max(abs(a - b) / abs(b) for a, b in zip(losses, reference, strict=True))


def run_tool(tool: str, config: Path, *arguments: Any, processes: int = 1) -> list[float]:
    """Run a tool; returns the losses that it logged."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ['-m', 'torch.distributed.run', '--nproc-per-node', str(processes), '--standalone']
    command = [*launcher, ROOT / 'tools' / tool, config, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=config.parent)
    if done.returncode:
        raise RuntimeError(f'{tool} {config.name} {arguments}: {(done.stderr or done.stdout)[-1500:]}')
    if '--work-dir' not in arguments:
        return []
    work_dir = Path(arguments[arguments.index('--work-dir') + 1])
    found: dict[int, float] = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found |= {row['step']: row['loss'] for row in rows if 'loss' in row}
    return [found[step] for step in sorted(found)]


def killed_and_resumed(config: Path, work_dir: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Kill a training with SIGKILL after its third iteration and go on; returns the losses and the last weights."""
    command = [sys.executable, ROOT / 'tools/train.py', config, '--work-dir', work_dir]
    with subprocess.Popen(command, cwd=config.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (work_dir / 'last_checkpoint').exists():
            time.sleep(0.005)
        process.kill()
    if not was_killed(process.returncode):
        raise RuntimeError(f'{config.name}: the training to be killed ended by itself with {process.returncode}')
    losses = run_tool('train.py', config, '--work-dir', work_dir, '--auto-resume')
    return losses, torch.load(work_dir / 'iter_5.pth')['state_dict']


def _runs(tool: str, *arguments: Any) -> str:
    try:
        run_tool(tool, *arguments)
    except RuntimeError as error:
        return f'failed: {" ".join(str(error).split())[-300:]}'
    return 'runs'


def literal_losses(case: str, config: Path) -> tuple[list[float], list[str]]:
    """Train as mmcv 1.x does, in a plain loop over the batches of our loader; returns losses and state-dict keys."""
    from mmengine.runner import set_random_seed

    from mmopt.apis.config import load_config
    from mmopt.engine.loading.build import build_dataloader

    cfg = load_config(config)
    init_default_scope('mmopt')
    source = Config.fromfile(config)
    registry = registry_of(source.model.type, 'model')
    set_random_seed(0)
    with DefaultScope.overwrite_default_scope('mmengine'):
        model = registry.build(source.model)
    model.init_weights()
    model.train()
    settings = {key: value for key, value in source.optimizer.items() if key != 'type'}
    optimizer = getattr(torch.optim, source.optimizer.type)(model.parameters(), **settings)
    losses = []
    for iteration, batch in zip(range(5), build_dataloader(cfg.train_dataloader, 0), strict=False):
        for group in optimizer.param_groups:
            group['lr'] = literal_lr(case, settings['lr'], iteration)
        outputs = model.train_step(batch, optimizer)
        optimizer.zero_grad()
        outputs['loss'].backward()
        optimizer.step()
        losses.append(outputs['loss'].item())
    return losses, list(model.state_dict())


def main() -> None:
    part, name, packages, work, result, number = sys.argv[1:]
    warnings.simplefilter('ignore')
    os.chdir(work)
    if part == 'import':
        content = import_all(name)
    elif part == 'build':
        content = build_models(name, Path(packages), int(number))
    elif part == 'step':
        install(name)
        importlib.import_module(f'{name}.models')
        content = step_all(name, Path(packages))
    elif part == 'speed':
        install(name)
        importlib.import_module(f'{name}.models')
        content = measure_speed(Path(packages))
    else:
        content = train(name, Path(packages), Path(work))
    Path(result).write_text(json.dumps(content), encoding='utf-8')


if __name__ == '__main__':
    main()
