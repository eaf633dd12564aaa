"""Optimizer wrappers: precision and accumulation."""

from mmopt.engine.optim.accumulation import OptimWrapper
from mmopt.engine.optim.precision import AmpOptimWrapper

__all__ = ['AmpOptimWrapper', 'OptimWrapper']
