"""Config files: from a file and its bases to one dict, and where a variable of a file went."""

from mmopt.config.files.baked import places_of
from mmopt.config.files.lazy import is_lazy
from mmopt.config.files.read import read_file

__all__ = ['is_lazy', 'places_of', 'read_file']
