"""The demo data set of box detection: drones over moving backgrounds, in FRED's raw layout."""

from mmopt.datasets.detection.demo.make import Made, make_demo

__all__ = ['Made', 'make_demo']
