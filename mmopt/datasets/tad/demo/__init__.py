"""The demo data set of temporal action detection: simulated mice in the layout of the MABe challenge."""

from mmopt.datasets.tad.demo.make import make_demo

__all__ = ['make_demo']
