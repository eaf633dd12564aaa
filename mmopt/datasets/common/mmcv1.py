"""Names of mmcv-1 pipelines (mmseg 0.x, DiffBEV), so that such a pipeline runs as it stands.

Their work is done by mmopt's transforms; what they did besides (wrapping in DataContainers) no longer exists.
"""

from collections.abc import Callable, Sequence

from mmcv.transforms import Compose
from mmcv.transforms import LoadAnnotations as MMCVLoadAnnotations

from mmopt.datasets.common.transforms import PackInputs
from mmopt.registry import TRANSFORMS

__all__ = [
    'annotation_loader',
    'collect',
    'default_format_bundle',
    'image_to_tensor',
    'load_annotations',
    'multi_scale_flip_aug',
]


def _unchanged(results: dict) -> dict:
    return results


@TRANSFORMS.register_module(name='DefaultFormatBundle')
def default_format_bundle() -> Callable[[dict], dict]:
    """Return a transform that does nothing: ``Collect`` makes the tensors."""
    return _unchanged


@TRANSFORMS.register_module(name='ImageToTensor')
def image_to_tensor(keys: Sequence[str]) -> Callable[[dict], dict]:
    """Return a transform that does nothing: ``Collect`` makes the tensors.

    Args:
        keys: Must be ``['img']``.

    Returns:
        The transform.

    Raises:
        ValueError: If ``keys`` names something else.
    """
    if list(keys) != ['img']:
        raise ValueError(f"ImageToTensor: only keys=['img'] is supported, got {list(keys)}.")
    return _unchanged


@TRANSFORMS.register_module(name='Collect')
def collect(keys: Sequence[str], meta_keys: Sequence[str] = ()) -> PackInputs:
    """Return the packing transform.

    The sample carries every label that the pipeline loaded, so ``keys`` decides nothing more; it must name the image.

    Args:
        keys: Must contain ``'img'``.
        meta_keys: Facts to keep beside the usual ones; names of mmcv-1 that no longer exist (``filename`` is
            ``img_path`` now) are left out.

    Returns:
        The transform.

    Raises:
        ValueError: If ``keys`` lacks the image.
    """
    if 'img' not in keys:
        raise ValueError(f"Collect: keys must contain 'img', got {list(keys)}.")
    return PackInputs(meta_keys)


_LOADERS: dict[str, Callable[..., Callable[[dict], dict]]] = {}


def annotation_loader(mark: str) -> Callable[[Callable], Callable]:
    """Return a decorator: what a task's ``LoadAnnotations`` is when an argument of this name is true.

    Args:
        mark: The argument by which the task's configs are known.

    Returns:
        The decorator of a function that takes the other arguments and returns the transform.
    """

    def register(build: Callable[..., Callable[[dict], dict]]) -> Callable:
        _LOADERS[mark] = build
        return build

    return register


@TRANSFORMS.register_module(name='LoadAnnotations')
def load_annotations(
    reduce_zero_label: bool = False, imdecode_backend: str = 'cv2', **kwargs
) -> Callable[[dict], dict]:
    """Return the loader of the labels that the arguments describe.

    Args:
        reduce_zero_label: Of mmseg.
        imdecode_backend: As in mmcv.
        **kwargs: A task's mark (:func:`annotation_loader`) and what its loader takes; else passed on to
            :class:`mmcv.transforms.LoadAnnotations`.

    Returns:
        The transform.

    Raises:
        ValueError: If the arguments contradict each other.
    """
    for mark, build in _LOADERS.items():
        if kwargs.pop(mark, False):
            return build(reduce_zero_label=reduce_zero_label, imdecode_backend=imdecode_backend, **kwargs)
    if reduce_zero_label:
        raise ValueError('LoadAnnotations: reduce_zero_label=True is unsupported; store labels with 255 = ignore.')
    return MMCVLoadAnnotations(imdecode_backend=imdecode_backend, **kwargs)


@TRANSFORMS.register_module(name='MultiScaleFlipAug')
def multi_scale_flip_aug(
    transforms: Sequence[dict], img_scale: tuple[int, int] | None = None, flip: bool = False
) -> Compose:
    """Return the plain test pipeline that mmcv-1 wrote with this wrapper: one scale, no flip.

    Args:
        transforms: The inner transforms. ``Resize`` gets ``img_scale``; ``RandomFlip`` without a probability asked
            the wrapper whether to flip and is left out.
        img_scale: (width, height).
        flip: Must be False.

    Returns:
        The inner transforms as one.

    Raises:
        ValueError: If several scales or flips are asked for.
    """
    scales = [img_scale] if img_scale is not None and not isinstance(img_scale[0], Sequence) else img_scale
    if flip or scales is None or len(scales) != 1:
        raise ValueError(
            f'MultiScaleFlipAug: test-time augmentation is not supported (img_scale={img_scale}, flip={flip}); '
            'give one img_scale and flip=False.'
        )
    inner = [
        dict(transform, img_scale=tuple(scales[0])) if transform['type'] == 'Resize' else transform
        for transform in transforms
        if transform != dict(type='RandomFlip')
    ]
    return Compose([TRANSFORMS.build(transform) for transform in inner])
