"""Configs, dict to dict: the MMCV-1.x dialect lowered to MMEngine."""
