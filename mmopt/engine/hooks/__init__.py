"""Hooks."""

from mmopt.engine.hooks.checkpoint_hook import CheckpointHook

__all__ = ['CheckpointHook']
