"""Metrics of BEV segmentation."""
