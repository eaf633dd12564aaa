#!/usr/bin/env python
"""Run configs of MMSegmentation, MMPretrain and MMDetection on mmopt, with every tool, and against MMEngine's Runner.

python benchmarks/drop_in.py --out benchmarks/results/drop_in_<machine>

python benchmarks/drop_in.py --projects mmpose mmaction mmrotate mmocr --checks preflight train kill_and_resume test

Downloads the libraries without their dependencies into a temporary folder (--packages DIR keeps them in a folder, and
takes those that are there) and trains on made-up data. --checks puts the results of some checks beside those of the
others that OUT.json has. Step times are measured in processes of their own, mmopt's and MMEngine's in turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from drop_in_more import MORE
from drop_in_projects import PROJECTS, TORCHVISION, WHEELS, Project

from mmopt.utils.host import usable_cores

REPO = Path(__file__).resolve().parents[1]
ROUNDS, WARMUP, ITERS = 3, 3, 12
_TORCHVISION_SHIM = """
import torch
for name in ('nms', 'qnms'):  # PyPI's build cannot load its operators beside a CPU build of torch
    if not hasattr(torch.ops.torchvision, name):
        torch.library.define(f'torchvision::{name}', '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--packages', type=Path, help='a folder for the libraries; default: a temporary one')
    names = [[project.name for project in projects] for projects in (PROJECTS, MORE)]
    parser.add_argument('--projects', nargs='+', choices=sum(names, []), default=names[0], help=f'default: {names[0]}')
    parser.add_argument('--checks', nargs='+', choices=CHECKS, default=CHECKS, metavar='CHECK', help='default: all')
    parser.add_argument('--out', type=Path, help='write OUT.json and OUT.md')
    parser.add_argument('--part', choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument('--config', help=argparse.SUPPRESS)
    return parser.parse_args(argv)


# ------------------------------------------------------------------------------------ what runs in a process of its own
def step_times(config: str, own: bool) -> dict[str, Any]:
    """Time the iterations of mmopt's runner or of MMEngine's on the same config."""
    from mmengine.config import Config
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    class Clock(Hook):
        steps: list[float] = []
        ends: list[float] = []

        def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
            self.start = time.perf_counter()

        def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
            self.ends.append(time.perf_counter())
            self.steps.append(self.ends[-1] - self.start)

    if own:
        from mmopt.apis.config import load_config
        from mmopt.apis.run.start import build_runner

        cfg = load_config(config)
    else:
        from mmopt.apis.extension import provide_extension

        cfg = Config.fromfile(config, import_custom_modules=False)
        provide_extension(cfg)
        cfg = Config.fromfile(config)
    cfg.train_cfg = dict(by_epoch=False, max_iters=WARMUP + ITERS, val_interval=10**6)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=10**6, by_epoch=False, save_last=False)
    cfg.param_scheduler = None
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        runner = build_runner(cfg) if own else Runner.from_cfg(cfg)
        clock = Clock()
        runner.register_hook(clock)
        runner.train()
    whole = [stop - start for start, stop in zip(clock.ends, clock.ends[1:], strict=False)][WARMUP - 1 :]
    return dict(step_s=statistics.median(clock.steps[WARMUP:]), iter_s=statistics.median(whole))


def micro_batch_difference(config: str) -> dict[str, Any]:
    """Compare the gradient of a batch in parts with that of the whole, without batch statistics and dropout."""
    import torch
    from mmengine.registry import init_default_scope

    from mmopt.apis.config import load_config
    from mmopt.apis.memory.samples import batch_maker
    from mmopt.apis.run.facts import model_config
    from mmopt.engine.loops.step import TrainStep
    from mmopt.engine.optim import OptimWrapper
    from mmopt.engine.parallel.sync_batch_norm import fit_sync_batch_norm
    from mmopt.registry import MODELS

    cfg = load_config(config)
    init_default_scope(cfg.default_scope)
    make_batch = batch_maker(cfg, 4, None, False)
    gradients = []
    for size in (None, 2):
        torch.manual_seed(0)
        model = fit_sync_batch_norm(MODELS.build(model_config(cfg)), torch.device('cpu'), 1).eval()
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
        wrapper.zero_grad = lambda *args, **kwargs: None
        TrainStep(model, wrapper, size)(make_batch())
        gradients.append(torch.cat([param.grad.flatten() for param in model.parameters() if param.grad is not None]))
    whole, parts = gradients
    return dict(difference=float((parts - whole).norm() / whole.norm()))


PARTS: Mapping[str, Callable[[str], dict[str, Any]]] = dict(
    mmopt=lambda config: step_times(config, own=True),
    mmengine=lambda config: step_times(config, own=False),
    micro_batch=micro_batch_difference,
)


# ------------------------------------------------------------------------------------ the packages
def download(folder: Path, projects: Sequence[Project]) -> None:
    """Install what is missing: a folder for the libraries and what they import, others for torchvision and projects."""
    wanted = dict(packages=WHEELS, torchvision=(TORCHVISION,))
    wanted |= {project.name: project.wheels for project in projects if project.wheels}
    for name, wheels in wanted.items():
        if not (folder / name).is_dir():
            pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--target', str(folder / name)]
            subprocess.run([*pip, *wheels], check=True)
    for project in projects:
        for name, text in project.stubs.items():
            path = folder / project.name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding='utf-8')


class Bench:
    """The checks of one project.

    Args:
        project: What is run.
        packages: The folder of :func:`download`.
        folder: Where configs, data and runs go.
    """

    def __init__(self, project: Project, packages: Path, folder: Path) -> None:
        self.project = project
        self.folder = folder / project.name
        data = self.folder / 'data'
        project.make_data(data)
        own = packages / (project.name if project.wheels else 'packages')
        base = own / project.name / '.mim' / 'configs' / project.base
        self.config = self.folder / f'{project.name}_drop_in.py'  # not named like the package, which it would hide
        child = project.child.replace('{data}', str(data))
        self.config.write_text(f"_base_ = ['{base}']\n{child}", encoding='utf-8')
        path = [REPO, own, packages / 'packages']
        if project.torchvision:
            (packages / 'torchvision' / 'drop_in_torchvision.py').write_text(_TORCHVISION_SHIM, encoding='utf-8')
            path.append(packages / 'torchvision')
        self.environment = os.environ | dict(
            PYTHONPATH=os.pathsep.join(map(str, path)), MMOPT_MMCV_EXTENSION='torch', OMP_NUM_THREADS='1'
        )
        self.whole: Path | None = None

    def run(self, *command: str | Path) -> str:
        """Run a tool and return what it printed; raises with its last line."""
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', *map(str, command)],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError((done.stderr.strip() or done.stdout.strip()).splitlines()[-1])
        return done.stdout

    def tool(self, name: str, *arguments: str | Path) -> str:
        """Run a tool of mmopt on the config."""
        return self.run(REPO / 'tools' / f'{name}.py', self.config, *arguments)

    def part(self, name: str) -> dict[str, Any]:
        """Run one of :data:`PARTS` in a process of its own."""
        return json.loads(self.run(Path(__file__).resolve(), '--part', name, '--config', self.config).splitlines()[-1])

    def checkpoints(self, work_dir: str) -> list[Path]:
        """Return the numbered checkpoints of a run, the first first."""
        return sorted((self.folder / work_dir).glob('*_[0-9]*.pth'), key=lambda path: path.stat().st_mtime_ns)

    # -------------------------------------------------------------------------------- the checks, in order
    def preflight(self) -> str:
        text = self.tool('train', '--dry-run')
        return next(line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith('  length'))

    def train(self) -> str:
        text = self.tool('train', '--work-dir', 'whole')
        self.whole = self.checkpoints('whole')[-1]
        return next(line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith('  iterations'))

    def kill_and_resume(self) -> str:
        import torch

        process = subprocess.Popen(
            [sys.executable, '-W', 'ignore', REPO / 'tools' / 'train.py', self.config, '--work-dir', 'killed'],
            env=self.environment, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while process.poll() is None and not self.checkpoints('killed'):
            time.sleep(0.005)
        process.kill()
        process.wait()
        if len(self.checkpoints('killed')) != 1:
            raise RuntimeError('the run was over before it was killed')
        self.tool('train', '--work-dir', 'killed', '--auto-resume')
        ours, theirs = (torch.load(path, weights_only=True) for path in (self.whole, self.checkpoints('killed')[-1]))
        counts = [_count_equal(ours[key], theirs[key]) for key in ('state_dict', 'optimizer')]
        return f'bit-equal, {counts[0]} + {counts[1]} tensors'

    def micro_batch(self) -> str:
        return f'{self.part("micro_batch")["difference"]:.1e}'

    def estimate(self) -> str:
        case = json.loads(self.tool('estimate_memory', '--json', '-'))['cases'][0]
        return f'{case["reserved"] / 2**30:.2f} GiB, from {case["batches"]}'

    def benchmark(self) -> str:
        options = ['--warmup', '1', '--iters', '2', '--rounds', '1', '--val-batches', '1', '--out', 'bench/report']
        self.tool('benchmark', '--options-a', 'randomness.seed=1', '--options-b', 'randomness.seed=2', *options)
        report = json.loads((self.folder / 'bench' / 'report.json').read_text(encoding='utf-8'))
        return f'{len(report["rows"])} settings'

    def tune(self) -> str:
        self.tool(
            'tune', '--max-trials', '2', '--confirm', '0', '--knobs', 'fused_optimizer', '--iters', '2',
            '--warmup', '1', '--out', 'tuned.py',
        )  # fmt: skip
        return 'a config' if (self.folder / 'tuned.py').is_file() else 'no config'

    def doctor(self) -> str:
        return self.tool('doctor').strip().splitlines()[-1].rstrip('.')

    def browse(self) -> str:
        self.tool('browse_dataset', '--num', '2', '--out', 'browse')
        return f'{len(list((self.folder / "browse").glob("train_[0-9]*.jpg")))} pictures'

    def test(self) -> str:
        self.tool('test', self.whole or '', '--show-dir', 'shown', '--num-pictures', '2', '--out', 'metrics.json')
        metrics = json.loads((self.folder / 'metrics.json').read_text(encoding='utf-8'))['metrics']
        name, value = next(iter(metrics.items()))
        return f'{name} {value:.3g}, {len(list((self.folder / "shown").glob("*.jpg")))} pictures'

    def predict(self) -> str:
        files = sorted((self.folder / 'data').rglob('*.png'))
        pictures = [path for path in files if 'annotations' not in path.parts and 'val' in str(path.parent)][:3]
        self.tool('predict', self.whole or '', *pictures, '--out', 'found')
        found = self.folder / 'found'
        results = json.loads((found / 'results.json').read_text(encoding='utf-8'))
        fields = ', '.join(name for name in results[0]['sample'] if name.startswith('pred_'))
        formats = json.loads((found / 'predictions.json').read_text(encoding='utf-8'))['formats']
        formats = [name for name in formats if name != 'mp4']  # of films
        return f'{len(results)} pictures, {fields} as {", ".join(formats)}'

    def export(self) -> str:
        return self.tool('export', self.whole or '', '--out', 'model.onnx').strip().splitlines()[-1]

    def step_time(self) -> dict[str, Any]:
        rounds = [{name: self.part(name) for name in ('mmengine', 'mmopt')} for _ in range(ROUNDS)]
        ratios = {key: [one['mmopt'][key] / one['mmengine'][key] for one in rounds] for key in ('step_s', 'iter_s')}
        return dict(rounds=rounds, ratios=ratios)


CHECKS = (
    'preflight', 'train', 'kill_and_resume', 'micro_batch', 'estimate', 'benchmark', 'tune', 'doctor', 'browse', 'test',
    'predict', 'export', 'step_time',
)  # fmt: skip


def _count_equal(ours: Any, theirs: Any) -> int:
    """Count the tensors of two checkpoints, which must be the same bit for bit."""
    import torch

    if isinstance(ours, torch.Tensor):
        if not torch.equal(ours, theirs):
            raise RuntimeError('a tensor differs')
        return 1
    if isinstance(ours, Mapping):
        if ours.keys() != theirs.keys():
            raise RuntimeError('the keys differ')
        return sum(_count_equal(value, theirs[key]) for key, value in ours.items())
    if isinstance(ours, list | tuple):
        return sum(_count_equal(one, other) for one, other in zip(ours, theirs, strict=True))
    return 0


def run_checks(project: Project, packages: Path, folder: Path, checks: Sequence[str]) -> dict[str, Any]:
    """Run checks of a project; one that fails does not end the others."""
    bench, results = Bench(project, packages, folder), {}
    if 'train' not in checks:
        bench.train()  # others ask for its checkpoint
    for name in checks:
        started = time.perf_counter()
        try:
            results[name] = dict(ok=True, result=getattr(bench, name)())
        except Exception as error:
            results[name] = dict(ok=False, result=f'{type(error).__name__}: {error}')
        results[name]['seconds'] = round(time.perf_counter() - started, 1)
        print(f'{project.name:<11}{name:<16}{results[name]}', flush=True)
    return results


def _ratio(values: Sequence[float]) -> str:
    return f'{statistics.median(values):.2f} ({min(values):.2f} - {max(values):.2f})'


def markdown(results: Mapping[str, Mapping[str, Any]], machine: str, command: str, libraries: Sequence[str]) -> str:
    """Write the table library x tool."""
    lines = [
        '# Drop-in: libraries of MMEngine on mmopt',
        '',
        f"`{command}`, {machine}. {', '.join(libraries)}, mmcv's extension in PyTorch.",
        'Small made-up data, narrow models.',
        '',
        '- micro_batch: relative difference of the gradient of a batch of 4 in parts of 2 from that of the whole, in',
        '  evaluation mode. MMDetection divides by the positives of each part, which is not exact.',
        f"- Times: mmopt over MMEngine's Runner on the same config, {ROUNDS} rounds of {ITERS} iterations in processes",
        '  of their own, in turns: median ratio, lowest and highest; below 1 mmopt is faster. A step goes from the',
        '  batch to the end of the optimizer step, an iteration has loading and hooks besides.',
        '',
        f'| tool | {" | ".join(results)} |',
        f'|{"---|" * (len(results) + 1)}',
    ]
    for name in CHECKS[:-1]:
        if not any(name in one for one in results.values()):
            continue
        found = [one.get(name, dict(ok=True, result='-')) for one in results.values()]
        cells = [str(one['result']) if one['ok'] else f'**failed**: {one["result"]}' for one in found]
        lines.append(f'| {name} | {" | ".join(cells)} |')
    timed = any('step_time' in one for one in results.values())
    for key, label in (('step_s', 'step time'), ('iter_s', 'iteration time')) if timed else ():
        cells = [
            _ratio(one['step_time']['result']['ratios'][key]) if one['step_time']['ok'] else '**failed**'
            for one in results.values()
        ]
        lines.append(f'| {label}, mmopt / MMEngine | {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if args.part is not None:
        print(json.dumps(PARTS[args.part](args.config)))
        return 0
    from mmopt.utils.machine import describe_machine

    with tempfile.TemporaryDirectory(prefix='mmopt-drop-in-') as temporary:
        folder = Path(temporary)
        packages = (args.packages or folder / 'libraries').resolve()
        chosen = [project for project in (*PROJECTS, *MORE) if project.name in args.projects]
        download(packages, chosen)
        checks = [name for name in CHECKS if name in args.checks]
        results = {project.name: run_checks(project, packages, folder, checks) for project in chosen}
    machine = describe_machine()
    path = None if args.out is None else args.out.with_name(f'{args.out.name}.json')
    if path is not None and path.is_file() and len(checks) < len(CHECKS):
        before = json.loads(path.read_text(encoding='utf-8'))['results']
        results = before | {name: before.get(name, {}) | one for name, one in results.items()}
    projects = [project for project in (*PROJECTS, *MORE) if project.name in results]
    results = {project.name: results[project.name] for project in projects}
    wheels = sorted({wheel for project in projects for wheel in (*project.wheels, *WHEELS) if '==' in wheel})
    libraries = dict.fromkeys(
        wheel for project in projects for wheel in (project.wheels or WHEELS[:4]) if '==' in wheel
    )
    default = [project.name for project in PROJECTS]
    command = 'python benchmarks/drop_in.py'
    command += '' if list(results) == default else f' --projects {" ".join(results)}'
    where = f'{machine["cpu"]}, {usable_cores()} cores, torch {machine["torch"]}'
    text = markdown(results, where, command, list(libraries))
    print(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        report = dict(machine=machine, wheels=wheels, results=results)
        path.write_text(json.dumps(report, indent=1) + '\n', encoding='utf-8')
        args.out.with_name(f'{args.out.name}.md').write_text(text, encoding='utf-8')
    return int(not all(check['ok'] for one in results.values() for check in one.values()))


if __name__ == '__main__':
    sys.exit(main())
