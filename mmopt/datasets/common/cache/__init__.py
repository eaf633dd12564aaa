"""Samples stored once, as the part of the pipeline that is the same in every epoch makes them."""

from mmopt.datasets.common.cache.build import CachedPrefix, Source, open_cache
from mmopt.datasets.common.cache.records import NotStorableError, decode, encode
from mmopt.datasets.common.cache.store import SampleStore

__all__ = ['CachedPrefix', 'NotStorableError', 'SampleStore', 'Source', 'decode', 'encode', 'open_cache']
