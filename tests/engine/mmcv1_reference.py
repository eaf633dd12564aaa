"""MMCV 1.7.2's learning-rate and momentum hooks, retold as a state machine that is driven iteration by iteration.

Deliberately naive and independent of mmopt: a fake run calls `before_run`, `before_epoch` and `before_iter` in MMCV's
order, and a hook writes into parameter groups as MMCV's does, keeping what it keeps (the regular value of the epoch).
"""

import math
from types import SimpleNamespace


class ReferenceHook:
    def __init__(self, kind: str, policy: str, keys: dict) -> None:
        keys = dict(keys)
        self.kind = kind  # 'lr' or 'momentum'
        self.policy = policy
        self.by_epoch = keys.pop('by_epoch', policy not in ('Cyclic', 'OneCycle'))
        self.warmup = keys.pop('warmup', None)
        self.warmup_iters = keys.pop('warmup_iters', 0)
        self.ratio = keys.pop('warmup_ratio', 0.1 if kind == 'lr' else 0.9)
        self.warmup_by_epoch = keys.pop('warmup_by_epoch', False)
        self.keys = keys

    # --- what is written into a group -------------------------------------------------------------------------------
    def read(self, group):
        if self.kind == 'lr':
            return group['lr']
        return group['momentum'] if 'momentum' in group else group['betas'][0]

    def write(self, groups, values):
        for group, value in zip(groups, values, strict=True):
            if self.kind == 'lr':
                group['lr'] = value
            elif 'momentum' in group:
                group['momentum'] = value
            else:
                group['betas'] = (value, group['betas'][1])

    # --- the three moments of MMCV ----------------------------------------------------------------------------------
    def before_run(self, run):
        name = f'initial_{self.kind}'
        for group in run.groups:
            if self.kind == 'lr' and self.policy == 'OneCycle':
                group.setdefault(name, self.keys['max_lr'] / self.keys.get('div_factor', 25))
            else:
                group.setdefault(name, self.read(group))
        self.base = [group[name] for group in run.groups]
        if self.kind == 'lr' and self.policy == 'OneCycle':
            self.base = [self.keys['max_lr'] / self.keys.get('div_factor', 25)] * len(run.groups)

    def before_epoch(self, run):
        if self.warmup_by_epoch:
            self.warmup_iters = self.warmup_iters * run.epoch_length
            self.warmup_by_epoch = False
        if self.by_epoch:
            self.regular = [self.value(run, base) for base in self.base]
            self.write(run.groups, self.regular)

    def before_iter(self, run):
        if not self.by_epoch:
            self.regular = [self.value(run, base) for base in self.base]
            if self.warmup is None or run.iter >= self.warmup_iters:
                self.write(run.groups, self.regular)
            else:
                self.write(run.groups, self.warmed(run.iter))
        elif self.warmup is not None and run.iter <= self.warmup_iters:
            self.write(run.groups, self.regular if run.iter == self.warmup_iters else self.warmed(run.iter))

    def warmed(self, i):
        if self.policy == 'YOLOX':
            return [base * self.ratio * ((i + 1) / self.warmup_iters) ** 2 for base in self.base]
        if self.warmup == 'constant':
            k = self.ratio
        elif self.warmup == 'linear':
            k = 1 - (1 - i / self.warmup_iters) * (1 - self.ratio)
        else:
            k = self.ratio ** (1 - i / self.warmup_iters)
        return [value * k if self.kind == 'lr' else value / k for value in self.regular]

    # --- the policies -----------------------------------------------------------------------------------------------
    def value(self, run, base):
        now, end = (run.epoch, run.max_epochs) if self.by_epoch else (run.iter, run.max_iters)
        return getattr(self, f'_{self.policy.lower()}')(base, now, end, run)

    def low(self, base):
        name = 'min_lr' if self.kind == 'lr' else 'min_momentum'
        ratio = self.keys.get(f'{name}_ratio')
        return self.keys[name] if ratio is None else base * ratio

    def _fixed(self, base, now, end, run):
        return base

    def _step(self, base, now, end, run):
        step = self.keys['step']
        number = now // step if isinstance(step, int) else sum(1 for s in step if now >= s)
        value = base * self.keys.get('gamma', 0.1 if self.kind == 'lr' else 0.5) ** number
        minimum = self.keys.get('min_lr' if self.kind == 'lr' else 'min_momentum')
        return value if minimum is None else max(value, minimum)

    def _exp(self, base, now, end, run):
        return base * self.keys['gamma'] ** now

    def _poly(self, base, now, end, run):
        minimum = self.keys.get('min_lr', 0.0)
        return (base - minimum) * (1 - now / end) ** self.keys.get('power', 1.0) + minimum

    def _inv(self, base, now, end, run):
        return base * (1 + self.keys['gamma'] * now) ** (-self.keys.get('power', 1.0))

    def _cosineannealing(self, base, now, end, run):
        return cosine(base, self.low(base), now / end)

    def _linearannealing(self, base, now, end, run):
        return base + (self.low(base) - base) * now / end

    def _flatcosineannealing(self, base, now, end, run):
        start = round(end * self.keys.get('start_percent', 0.75))
        return base if now - start < 0 else cosine(base, self.low(base), (now - start) / (end - start))

    def _cosinerestart(self, base, now, end, run):
        periods = self.keys['periods']
        ends = [sum(periods[: n + 1]) for n in range(len(periods))]
        index = min(n for n, stop in enumerate(ends) if now < stop)
        share = min((now - (ends[index - 1] if index else 0)) / periods[index], 1)
        return cosine(base, self.low(base), share, self.keys['restart_weights'][index])

    def _cyclic(self, base, now, end, run):
        ratio = self.keys.get('target_ratio', (10, 1e-4) if self.kind == 'lr' else (0.85 / 0.95, 1.0))
        if isinstance(ratio, float):
            ratio = (ratio, ratio / 1e5)
        elif len(ratio) == 1:
            ratio = (ratio[0], ratio[0] / 1e5)
        length = run.max_iters // self.keys.get('cyclic_times', 1)
        up = int(self.keys.get('step_ratio_up', 0.4) * length)
        scale = self.keys.get('gamma', 1) ** (run.iter // length)
        position = run.iter % length
        for start, stop, first, last in ((0, up, 1, ratio[0]), (up, length, ratio[0], ratio[1])):
            if start <= position < stop:
                if start == 0:
                    last = 1 - scale + last * scale
                else:
                    first = 1 - scale + first * scale
                return self.anneal()(base * first, base * last, (position - start) / (stop - start))
        raise AssertionError(position)

    def _onecycle(self, base, now, end, run):
        share = self.keys.get('pct_start', 0.3)
        total = self.keys.get('total_steps') or run.max_iters
        if self.kind == 'lr':
            high = base * self.keys.get('div_factor', 25)
            final = base / self.keys.get('final_div_factor', 1e4)
            rise, fall, tail = (base, high), (high, base), (base, final)
            single = (high, final)
        else:
            low, high = self.keys.get('base_momentum', 0.85), self.keys.get('max_momentum', 0.95)
            rise, fall, tail = (high, low), (low, high), (high, high)
            single = (low, high)
        if self.keys.get('three_phase'):
            phases = [(share * total - 1, *rise), (2 * share * total - 2, *fall), (total - 1, *tail)]
        else:
            phases = [(share * total - 1, *rise), (total - 1, *single)]
        start = 0
        for stop, first, last in phases:
            if run.iter <= stop:
                return self.anneal()(first, last, (run.iter - start) / (stop - start))
            start = stop
        raise AssertionError(run.iter)

    def _yolox(self, base, now, end, run):
        last = run.epoch_length * self.keys['num_last_epochs']
        now += 1
        if now >= end - last:
            return self.low(base)
        return cosine(base, self.low(base), (now - self.warmup_iters) / (end - self.warmup_iters - last))

    def anneal(self):
        if self.keys.get('anneal_strategy', 'cos') == 'cos':
            return cosine
        return lambda start, end, share: start + (end - start) * share


def cosine(start, end, share, weight=1.0):
    return end + 0.5 * weight * (start - end) * (math.cos(math.pi * share) + 1)


def run_reference(
    hook: ReferenceHook, groups: list[dict], *, epoch_length: int, num_epochs: int, num_iters: int | None
):
    """Drive the hook through a run; return the groups' values at every iteration.

    With `num_iters` it is an iteration-based run, which never begins an epoch but once.
    """
    max_iters = num_iters or epoch_length * num_epochs
    run = SimpleNamespace(
        groups=groups, iter=0, epoch=0, epoch_length=epoch_length, max_iters=max_iters, max_epochs=num_epochs
    )
    hook.before_run(run)
    values = []
    for run.iter in range(max_iters):
        if num_iters is None:
            run.epoch = run.iter // epoch_length
            if run.iter % epoch_length == 0:
                hook.before_epoch(run)
        hook.before_iter(run)
        values.append([hook.read(group) for group in groups])
    return values
