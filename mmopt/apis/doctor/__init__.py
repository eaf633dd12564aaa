"""Is this machine, this installation and this config fit for training? What ``tools/doctor.py`` prints."""

from mmopt.apis.doctor.check import Check, format_checks
from mmopt.apis.doctor.examine import examine

__all__ = ['Check', 'examine', 'format_checks']
