"""What `import mmcv...` finds while the layer is on: names of 1.x, by tables, beside those of the installed mmcv 2."""

from mmopt.mmcv1.namespace.finder import install_names
from mmopt.mmcv1.namespace.unknown import UnknownNameError
from mmopt.mmcv1.namespace.versions import declared_range, report_version, version_for

__all__ = ['UnknownNameError', 'declared_range', 'install_names', 'report_version', 'version_for']
