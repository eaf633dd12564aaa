"""From a config to a tuned one: measure the base, choose the knobs, search, confirm, write."""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mmopt.apis.bench.command import describe_trial
from mmopt.apis.bench.launch import run_fresh
from mmopt.apis.bench.rounds import Spread, benchmark, loss_difference, peak_gib
from mmopt.apis.bench.settings import Setting, TrialPlan
from mmopt.apis.cli.outputs import check_file
from mmopt.apis.config import load_config, read_config, samples_per_step
from mmopt.apis.doctor.machine import look_at_machine
from mmopt.apis.run.facts import model_skeleton
from mmopt.apis.tune.edits import Edit, as_options, make_edits
from mmopt.apis.tune.knobs import Situation, make_space
from mmopt.apis.tune.memory import make_fits
from mmopt.apis.tune.write import render_tuned
from mmopt.engine.tuner import Outcome, Point, Search, search
from mmopt.utils.errors import UserError
from mmopt.utils.memory import GIB

__all__ = ['TuneSettings', 'tune']


@dataclass(frozen=True)
class TuneSettings:
    """What the user asks for.

    Attributes:
        budget_bytes: Memory of the card, without one of the process and its workers; None for all that is there.
        effective_batch: Samples per step; None for the config's.
        lr_rule: ``'linear'`` or ``'sqrt'``: how the learning rate follows an ``effective_batch`` that is not the
            config's.
        loss_tolerance: Mean difference of the first losses, as a share, beyond which a setting is refused.
        max_trials: Trials of the search, at most.
        confirm: Rounds that measure the chosen setting against the base once more.
        knobs: Knobs to turn; None for all that can do something.
    """

    budget_bytes: int | None = None
    effective_batch: int | None = None
    lr_rule: str = 'linear'
    loss_tolerance: float = 0.05
    max_trials: int = 24
    confirm: int = 2
    knobs: tuple[str, ...] | None = None


class _Tuner:
    """One search over one config."""

    def __init__(
        self,
        config: str,
        options: tuple[str, ...],
        settings: TuneSettings,
        trial: TrialPlan,
        folder: Path,
        say: Callable[[str], None],
        run: Callable[..., dict[str, Any]],
    ) -> None:
        self.config, self.options, self.settings, self.trial = config, options, settings, trial
        self.folder, self.say, self.run = folder, say, run
        self.cfg = load_config(config, options=options)
        self.lowered = self.cfg.to_dict()
        own_effective = samples_per_step(self.lowered)
        if own_effective is None:
            raise UserError(f'{config}: the config trains nothing, so there is nothing to tune.')
        self.source = read_config(config, options).to_dict()
        self.own_effective = own_effective
        self.effective = settings.effective_batch or self.own_effective
        self.trials: dict[tuple, dict[str, Any]] = {}
        self.base_trial: dict[str, Any] | None = None
        self.refuted: tuple[dict[str, Any], float] | None = None

    def setting(self, point: Point, name: str) -> Setting:
        """Return a point as a setting of the benchmark."""
        return Setting(name, self.config, (*self.options, *as_options(self.edits(point))))

    def edits(self, point: Point) -> list[Edit]:
        """Return a point as edits of the config."""
        return make_edits(
            self.source, point, effective=self.effective, lr_rule=self.settings.lr_rule, lowered=self.lowered
        )

    def measure(self, point: dict[str, Any]) -> Outcome:
        """Run one trial and judge it."""
        name = ', '.join(f'{key} {value}' for key, value in point.items())
        trial = self.run(self.setting(point, 'trial'), self.trial, self.folder)
        self.trials[tuple(point.items())] = trial
        outcome = self._judge(trial)
        self.say(f'{name}: {describe_trial(trial)}' + (f' - {outcome.reason}' if outcome.reason else ''))
        return outcome

    def _judge(self, trial: dict[str, Any]) -> Outcome:
        if 'failed' in trial:
            return Outcome(None, f'{trial["failed"]}: {trial["message"]}', too_large=trial['failed'] == 'out of memory')
        budget, (kind, peak) = self.settings.budget_bytes, peak_gib(trial)
        if budget is not None and peak * GIB > budget:
            return Outcome(None, f'{peak:.1f} GiB ({kind}) are over the budget', too_large=True)
        if self.base_trial is None:
            self.base_trial = trial
        difference = loss_difference(trial, self.base_trial)
        if not all(loss == loss and abs(loss) != float('inf') for loss in trial['losses']):
            return Outcome(None, 'its loss is not finite')
        if difference is not None and difference > self.settings.loss_tolerance:
            return Outcome(None, f'its loss is {difference:.1%} off')
        return Outcome(statistics.median(trial['iter_s']) / trial['batch_size'])

    def situation(self) -> Situation:
        """Measure the config as it is, and look at the machine."""
        trial = self.run(Setting('trial', self.config, self.options), self.trial, self.folder)
        share, num_train = 0.0, self.effective
        if 'failed' not in trial:
            share = trial['parts_s']['data'] / statistics.median(trial['iter_s'])
            num_train = trial['schedule']['num_train']
        elif trial['failed'] != 'out of memory':
            raise UserError(f'{self.config} does not run as it is: {trial["message"]}')
        # The GPU as the trial saw it: looking at it from here would take a part of its memory.
        machine = replace(look_at_machine(with_gpus=False), gpus=_gpus(trial.get('machine', {})))
        return Situation(machine, num_train, self.effective, share)


def _gpus(machine: dict[str, Any]) -> tuple:
    if 'gpu' not in machine:
        return ()
    capability, gib = tuple(machine['capability']), machine['gpu_gib']
    return ((machine['gpu'], capability, gib, gib),)


def tune(
    config: str,
    out: Path,
    *,
    options: tuple[str, ...] = (),
    settings: TuneSettings | None = None,
    trial: TrialPlan | None = None,
    folder: Path,
    command: str = '',
    run: Callable[..., dict[str, Any]] = run_fresh,
) -> Search:
    """Tune a config and write the result.

    Args:
        out: The tuned config.
        options: ``key=value`` texts, for the search and for the tuned config alike.
        settings: What is asked for.
        trial: How a setting is measured.
        folder: Results and logs of the trials: what is finished there is not run again.
        command: For the head of the file.
        run: What runs a trial.

    Returns:
        What was found.

    Raises:
        UserError: If the config does not run, or no setting fits in the budget.
    """
    check_file(out, '--out')
    settings = settings or TuneSettings()
    trial = replace(trial or TrialPlan(), val_batches=0, flops=False, budget_bytes=settings.budget_bytes)
    with tqdm(desc='tuning', unit='trial', disable=None, leave=False) as bar:

        def say(text: str) -> None:
            bar.write(text, file=sys.stderr)

        def counted(*args: Any, **kwargs: Any) -> dict[str, Any]:
            result = run(*args, **kwargs)
            bar.update()
            return result

        tuner = _Tuner(config, options, settings, trial, folder, say, counted)
        situation = tuner.situation()
        space = make_space(tuner.cfg, model_skeleton(tuner.cfg), situation, settings.knobs)
        say('knobs: ' + ', '.join(f'{knob.name} {"/".join(map(str, knob.values))}' for knob in space.knobs))
        bar.reset(total=min(settings.max_trials, len(space)) + 2 * settings.confirm)
        budget = settings.budget_bytes or int(sum(total for *_, total in situation.machine.gpus[:1]) * GIB) or None
        fits = make_fits(config, options, space, budget, say) if budget and situation.on_gpu else lambda point: True
        try:
            found = search(space, tuner.measure, fits=fits, max_trials=settings.max_trials)
        except RuntimeError as error:
            raise UserError(f'no setting of {config} can be used: {error}') from error
        say(f'{len(found.trials)} of {len(space)} settings tried, {found.pruned} ruled out by the memory estimate')
        speed = _confirm(tuner, found, settings.confirm)
    _write(tuner, found, speed, Path(config), out, command)
    return found


def _confirm(tuner: _Tuner, found: Search, rounds: int) -> Spread:
    """Measure base and choice once more, interleaved; without a gain of 1 % the base is the choice."""
    base, best = found.space.base, found.best
    base_outcome = found.outcome(base)
    if base == best or base_outcome is None or base_outcome.seconds_per_sample is None:
        return Spread(1.0, 1.0, 1.0)
    if not rounds:
        ratio = found.speed(best)
        return Spread(ratio, ratio, ratio)
    settings = [tuner.setting(base, 'base'), tuner.setting(best, 'choice')]
    first, second = benchmark(settings, tuner.trial, tuner.folder / 'confirm', rounds=rounds, run=tuner.run)
    if first.failure or second.failure:
        raise UserError(f'the confirmation failed: {first.failure or second.failure}')
    speed = second.speed_over(first)
    if speed.median < 1.01:
        tuner.refuted = (best, speed.median)
        found.best = base
        return Spread(1.0, 1.0, 1.0)
    return speed


def _write(tuner: _Tuner, found: Search, speed: Spread, base: Path, out: Path, command: str) -> None:
    edits = tuner.edits(found.best)
    trial = tuner.trials[tuple(found.best.items())]
    machine = trial['machine']
    spread = '' if speed.low == speed.high else f' ({speed.low:.2f} - {speed.high:.2f})'
    kind, peak = peak_gib(trial)
    head = [
        f'{base.stem}, tuned by tools/tune.py: {speed.median:.2f}{spread} times the samples per second.',
        f'On {machine.get("gpu", machine["cpu"])}, torch {machine["torch"]}; '
        f'{tuner.effective} samples per step, peak memory {peak:.1f} GiB ({kind}).',
        f'{len(found.trials)} of {len(found.space)} settings tried, {found.pruned} ruled out by the memory estimate.',
        *([command] if command else []),
    ]
    if tuner.options:
        head.append(f'Tuned with --options {" ".join(tuner.options)}: give them to the training as well.')
    out.parent.mkdir(parents=True, exist_ok=True)
    text = render_tuned(base, out, edits, head=head, reasons=_reasons(tuner, found), left_out=_left_out(tuner, found))
    out.write_text(text, encoding='utf-8')


def _factor(found: Search, name: str, value: Any) -> str:
    """Say what one change of the choice is worth: measured where both settings were, else by the model."""
    other = dict(found.best, **{name: value})
    own, theirs = found.outcome(found.best), found.outcome(other)
    if theirs is not None and theirs.seconds_per_sample is not None and own and own.seconds_per_sample is not None:
        return f'{theirs.seconds_per_sample / own.seconds_per_sample:.2f} times as fast as {value}, measured'
    if theirs is not None:
        return f'{value} cannot be used: {theirs.reason[:80]}'
    return f'{found.model.factor(found.best, other):.2f} times as fast as {value}, by the cost model'


def _reasons(tuner: _Tuner, found: Search) -> dict[str, str]:
    reasons = {name: _factor(found, name, found.space.base[name]) for name in found.space.changes(found.best)}
    if 'batch' not in reasons:
        reasons['batch'] = f'so that {tuner.effective} samples make a step'
    before = tuner.cfg.train_dataloader.get('batch_size', 1)
    reasons['iterations'] = f'iterations of {found.best["batch"]} in the place of {before} samples: the same samples'
    reasons['lr'] = f'{tuner.settings.lr_rule} with the samples per step: {tuner.own_effective} -> {tuner.effective}'
    return reasons


def _left_out(tuner: _Tuner, found: Search) -> list[str]:
    """Say what was tried and is not in the choice."""
    texts = []
    if tuner.refuted is not None:
        point, speed = tuner.refuted
        changes = ', '.join(f'{name} {value}' for name, value in found.space.changes(point).items())
        texts.append(f'{changes}: the fastest in the search, {speed:.2f} times as fast in the confirmation')
    for knob in found.space.knobs:
        tried = {point[knob.name] for point, _ in found.trials}
        texts += [
            f'{knob.name} {value}: {_slower(found, knob.name, value)}'
            for value in knob.values
            if value in tried and value not in (found.best[knob.name], knob.base)
        ]
    return texts


def _slower(found: Search, name: str, value: Any) -> str:
    other = dict(found.best, **{name: value})
    outcome = found.outcome(other)
    if outcome is not None and outcome.seconds_per_sample is None:
        return outcome.reason[:80]
    if outcome is not None:
        return f'{found.seconds(found.best) / found.seconds(other):.2f} times as fast, measured'
    with_it = [outcome for point, outcome in found.trials if point[name] == value]
    if all(outcome.seconds_per_sample is None for outcome in with_it):
        return f'tried with other changes only: {with_it[0].reason[:80]}'
    return f'{found.model.factor(other, found.best):.2f} times as fast, by the cost model'
