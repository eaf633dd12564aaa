"""Hooks: what happens beside the step."""

from mmopt.engine.hooks.checkpoint_hook import CheckpointHook
from mmopt.engine.hooks.compare_runs_hook import CompareRunsHook
from mmopt.engine.hooks.early_stopping_hook import EarlyStoppingHook
from mmopt.engine.hooks.logger_hook import LoggerHook
from mmopt.engine.hooks.memory_snapshot_hook import MemorySnapshotHook
from mmopt.engine.hooks.metric_pictures_hook import MetricPicturesHook
from mmopt.engine.hooks.peak_memory_hook import PeakMemoryHook
from mmopt.engine.hooks.plateau_hook import PlateauHook
from mmopt.engine.hooks.runtime_info_hook import IterTimerHook, RuntimeInfoHook
from mmopt.engine.hooks.time_split_hook import TimeSplitHook

__all__ = [
    'CheckpointHook',
    'CompareRunsHook',
    'EarlyStoppingHook',
    'IterTimerHook',
    'LoggerHook',
    'MemorySnapshotHook',
    'MetricPicturesHook',
    'PeakMemoryHook',
    'PlateauHook',
    'RuntimeInfoHook',
    'TimeSplitHook',
]
