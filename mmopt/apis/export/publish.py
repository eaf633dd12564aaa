"""Strip a checkpoint to what a model needs: weights and the data set's classes, under a name that carries its hash."""

import json
from pathlib import Path
from typing import Any

import mmopt
from mmopt.engine import checkpoint_io
from mmopt.utils.errors import UserError

__all__ = ['publish_model']

_SUFFIXES = ('.pth', '.safetensors')


def publish_model(checkpoint: str | Path, out: str | Path, *, allow_pickle: bool = False) -> Path:
    """Write the weights of a checkpoint to ``<out>-<first 8 digits of the file's SHA-256><suffix>``.

    That is the name which :func:`torch.hub.load_state_dict_from_url` checks. Averaged weights (EMA) are taken where the
    checkpoint has them as its weights, as MMEngine's hook saves them.

    Args:
        checkpoint: A checkpoint of mmopt, MMEngine or mmcv 1.x, or a file of weights.
        out: The file to make, ``.pth`` or ``.safetensors``.
        allow_pickle: See :func:`mmopt.engine.checkpoint_io.load`.

    Returns:
        The file that was made.

    Raises:
        UserError: If the checkpoint cannot be read, or ``out`` is not one of the two formats or cannot be written.
    """
    out = Path(out)
    if out.suffix not in _SUFFIXES:
        raise UserError(f'--out {out}: the suffix says the format, so it must be one of {", ".join(_SUFFIXES)}.')
    loaded = checkpoint_io.load(checkpoint, allow_pickle=allow_pickle)
    weights = {name: tensor.contiguous() for name, tensor in loaded['state_dict'].items()}
    meta = _meta(loaded['meta'])

    def write(draft: Path) -> None:
        if out.suffix == '.pth':
            checkpoint_io.save(draft, dict(meta=meta, state_dict=weights))
            return
        # 'format' tells readers of the format's own library which framework the weights are from.
        texts = dict(format='pt', meta=json.dumps(meta))
        checkpoint_io.replace_file(draft, lambda file: checkpoint_io.write_tensor_file(file, weights, texts))

    try:
        return checkpoint_io.write_with_hash(out, write)
    except (OSError, ValueError) as error:
        raise UserError(f'{out}: not written: {getattr(error, "strerror", None) or error}.') from error


def _meta(meta: dict[str, Any]) -> dict[str, Any]:
    classes = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES')
    kept = dict(mmopt_version=mmopt.__version__, iter=meta.get('iter', 0), epoch=meta.get('epoch', 0))
    return kept | (dict(dataset_meta=dict(classes=list(classes))) if classes else {})
