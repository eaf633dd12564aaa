"""The demo data set of driver actions: a drawn driver seen by several cameras."""

from mmopt.datasets.video.demo.make import make_demo

__all__ = ['make_demo']
