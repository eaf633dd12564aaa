"""`mmcv._ext` without a compiler: the extension that `mmcv.ops` calls, in PyTorch."""

from mmopt.mmcv1.extension.module import install_extension

__all__ = ['install_extension']
