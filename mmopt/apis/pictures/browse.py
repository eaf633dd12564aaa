"""Pictures of what a data set feeds to a model, drawn by the data set itself."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from torch import Tensor

from mmopt.apis.pictures.save import can_draw, locate, spread, write_picture
from mmopt.datasets.common.pictures import contact_sheet
from mmopt.registry import DATASETS, FUNCTIONS, MODELS
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
        UserError: If the config has no such split, ``count`` is below 1, the data set cannot draw, or ``augmented`` is
            asked of a model without a data preprocessor.
    """
    loader = cfg.get(f'{split}_dataloader')
    if not loader:
        known = [name for name in SPLITS if cfg.get(f'{name}_dataloader')]
        raise UserError(f'{cfg.filename}: there is no {split} data set to look at; there are: {", ".join(known)}.')
    if count < 1:
        raise UserError(f'--num must be at least 1, got {count}.')
    preprocess = _Preprocessor(cfg) if augmented else None
    dataset = DATASETS.build(loader['dataset'])
    if not can_draw(dataset):
        raise UserError(f'{type(dataset).__name__} has no method draw(sample, image), so it gives no pictures.')
    seed = cfg.get('randomness', {}).get('seed') or 0
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files, pictures = [], []
    chosen = spread(len(dataset), count)
    for done, index in enumerate(chosen, start=1):
        packed = dataset[SampleIndex(index, seed, epoch)]
        image = packed['inputs'] if preprocess is None else preprocess(packed, training=split == 'train')
        picture = locate(dataset, index).draw(packed['data_samples'], image)
        files.append(write_picture(folder / f'{split}_{index:06d}.jpg', picture))
        # The sheet shows them small: whole pictures of a large --num would not fit into memory.
        scale = min(1.0, 1200 / picture.shape[1])
        pictures.append(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        if report is not None:
            report(done, len(chosen))
    return [*files, write_picture(folder / f'{split}_sheet.jpg', contact_sheet(pictures))]


class _Preprocessor:
    """The model's data preprocessor on one sample, with its normalization undone."""

    def __init__(self, cfg: Config) -> None:
        part = cfg.get('model', {}).get('data_preprocessor')
        if not part or 'mean' not in part:
            raise UserError(
                f'{cfg.filename}: --augmented needs a data preprocessor with mean and std in the model '
                '(model.data_preprocessor); without one the pipeline does everything: leave --augmented out.'
            )
        self.module = MODELS.build(part)
        self.mean_C11, self.std_C11 = (np.array(part[key], np.float32).reshape(-1, 1, 1) for key in ('mean', 'std'))

    def __call__(self, packed: dict, *, training: bool) -> np.ndarray | Tensor:
        batch = FUNCTIONS.get('stack_collate')([packed])
        normalized_CHW = self.module(batch, training)['inputs'][0].numpy()
        image_CHW = np.clip(np.rint(normalized_CHW * self.std_C11 + self.mean_C11), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(image_CHW.transpose(1, 2, 0))
