"""Find a good setting in few trials: a space of knobs, a cost model that learns, and the search over both."""

from mmopt.engine.tuner.cost_model import CostModel
from mmopt.engine.tuner.search import Outcome, Search, search
from mmopt.engine.tuner.space import Knob, Point, Space

__all__ = ['CostModel', 'Knob', 'Outcome', 'Search', 'Point', 'Space', 'search']
