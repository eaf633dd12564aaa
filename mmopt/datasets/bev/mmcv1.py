"""What DiffBEV's mmcv-1 pipelines call by names of their own."""

from typing import Any

from mmopt.datasets.bev.transforms import LoadBEVLabel
from mmopt.datasets.common.mmcv1 import annotation_loader

__all__ = ['load_bev_annotations']


@annotation_loader('with_calib')
def load_bev_annotations(
    reduce_zero_label: bool = False, imdecode_backend: str = 'pyramid', **kwargs: Any
) -> LoadBEVLabel:
    """Return the loader of BEV labels: ``LoadAnnotations(with_calib=True)`` is DiffBEV's mark of them.

    Args:
        reduce_zero_label: Must be False: a bit map has no zero label.
        imdecode_backend: DiffBEV writes ``'pyramid'``; the file format alone decides here.
        **kwargs: Must be empty.

    Returns:
        The transform.

    Raises:
        ValueError: If an argument has no meaning for bit maps.
    """
    del imdecode_backend
    if reduce_zero_label or kwargs:
        raise ValueError(
            'LoadAnnotations: with_calib=True loads BEV labels, which are bit maps: '
            f'reduce_zero_label={reduce_zero_label} and {sorted(kwargs)} have no meaning for them; leave them out.'
        )
    return LoadBEVLabel()
