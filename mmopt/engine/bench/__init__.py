"""Measure a run from inside: the time of its iterations and their parts, losses, memory, operations."""

from mmopt.engine.bench.measure_hook import EnoughMeasured, MeasureHook
from mmopt.engine.bench.step_clock import PARTS, StepClock
from mmopt.engine.bench.step_flops import step_flops

__all__ = ['PARTS', 'EnoughMeasured', 'MeasureHook', 'StepClock', 'step_flops']
