"""Overlaps of boxes and their suppression, with mmcv's numbers."""
