"""Pictures of what a data set feeds to a model, drawn by the data set itself or by the config's visualizer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from mmopt.apis.pictures.painter import require_painter
from mmopt.apis.pictures.save import spread, write_picture
from mmopt.apis.run.facts import build_dataset, collate_of, model_config
from mmopt.datasets.common.pictures import contact_sheet
from mmopt.registry import MODELS
from mmopt.utils.errors import UserError
from mmopt.utils.seeding import SampleIndex

__all__ = ['SPLITS', 'browse']

SPLITS = ('train', 'val', 'test')


def browse(
    cfg: Config, folder: str | Path, *, split: str = 'train', count: int = 8, epoch: int = 0, augmented: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> list[Path]:  # fmt: skip
    """Write pictures of samples spread over a split, and one sheet of them all.

    Args:
        cfg: A lowered config.
        folder: Where the pictures go; made if need be.
        split: ``train``, ``val`` or ``test``.
        count: Number of pictures; the whole split where it holds fewer.
        epoch: Epoch whose random draws are shown.
        augmented: Show images as the network sees them: after the data preprocessor's distortion, normalization
            undone. Otherwise as they leave the pipeline.
        report: Called with (pictures done, pictures in all).

    Returns:
        The pictures' files, and the sheet's last.

    Raises:
        UserError: If the config has no such split, ``count`` is below 1, nobody draws the samples, or ``augmented`` is
            asked of a model without a data preprocessor.
    """
    loader = cfg.get(f'{split}_dataloader')
    if not loader:
        known = [name for name in SPLITS if cfg.get(f'{name}_dataloader')]
        raise UserError(f'{cfg.filename}: there is no {split} data set to look at; there are: {", ".join(known)}.')
    if count < 1:
        raise UserError(f'--num must be at least 1, got {count}.')
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    preprocess = _Preprocessor(cfg, collate_of(loader)) if augmented else None
    dataset = build_dataset(cfg, f'{split}_dataloader')
    painter = require_painter(dataset, cfg)
    seed = cfg.get('randomness', {}).get('seed') or 0
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files, pictures = [], []
    chosen = spread(len(dataset), count)
    for done, index in enumerate(chosen, start=1):
        packed = dataset[SampleIndex(index, seed, epoch)]
        image = packed['inputs'] if preprocess is None else preprocess(packed, training=split == 'train')
        picture = painter.draw(index, packed['data_samples'], image)
        files.append(write_picture(folder / f'{split}_{index:06d}.jpg', picture))
        # The sheet shows them small: whole pictures of a large --num would not fit into memory.
        scale = min(1.0, 1200 / picture.shape[1])
        pictures.append(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        if report is not None:
            report(done, len(chosen))
    return [*files, write_picture(folder / f'{split}_sheet.jpg', contact_sheet(pictures))]


class _Preprocessor:
    """The model's data preprocessor on one sample, with its normalization undone."""

    def __init__(self, cfg: Config, collate: Callable[[list], Any]) -> None:
        self.collate = collate
        part = model_config(cfg).get('data_preprocessor')
        if not part or 'mean' not in part:
            raise UserError(
                f'{cfg.filename}: --augmented needs a data preprocessor with mean and std in the model '
                '(model.data_preprocessor); without one the pipeline does everything: leave --augmented out.'
            )
        self.module = MODELS.build(part)
        self.mean_C11, self.std_C11 = (np.array(part[key], np.float32).reshape(-1, 1, 1) for key in ('mean', 'std'))

    def __call__(self, packed: dict, *, training: bool) -> np.ndarray | Tensor:
        normalized_CHW = self.module(self.collate([packed]), training)['inputs'][0].numpy()
        image_CHW = np.clip(np.rint(normalized_CHW * self.std_C11 + self.mean_C11), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(image_CHW.transpose(1, 2, 0))
