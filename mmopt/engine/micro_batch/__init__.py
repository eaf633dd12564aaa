"""Micro-batches that find their size: an out-of-memory error repeats the step in smaller parts."""

from mmopt.engine.micro_batch.build import build_step
from mmopt.engine.micro_batch.decision import MicroBatchState
from mmopt.engine.micro_batch.first_batch import CheckpointBudget
from mmopt.engine.micro_batch.predict import Predictor
from mmopt.engine.micro_batch.remedies import DoesNotFitError
from mmopt.engine.micro_batch.step import AutoMicroBatchStep

__all__ = ['AutoMicroBatchStep', 'CheckpointBudget', 'DoesNotFitError', 'MicroBatchState', 'Predictor', 'build_step']
