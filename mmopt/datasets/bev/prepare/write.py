"""Writing the layout so that a run that is killed at any moment leaves only whole files.

Every file is written under a temporary name in its own folder and renamed; the label of a sample comes last, so a
sample is finished if its label is there. ``prepare.json`` records how the labels were made: a later run that would make
them differently stops instead of mixing.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mmopt.utils.errors import DataError, UserError

__all__ = ['Layout']

_SPLITS = ('train', 'val')
_TEMPORARY = '.prepare-'


class Layout:
    """The output folder.

    Args:
        root: Its path.
        link: How images get there: ``hard`` link, ``symlink``, ``copy``, or ``auto``: a hard link, or a symbolic one
            where the file system allows no hard link.
    """

    def __init__(self, root: Path, link: str = 'auto') -> None:
        self.root = root
        self.link = link

    def image(self, split: str, name: str, suffix: str) -> Path:
        """Return the path of an image."""
        return self.root / 'img_dir' / split / f'{name}{suffix}'

    def label(self, split: str, name: str) -> Path:
        """Return the path of a label."""
        return self.root / 'ann_bev_dir' / split / f'{name}.png'

    def make_folders(self) -> None:
        """Make the folders and remove what a killed run left half written."""
        for split in _SPLITS:
            for folder in (self.root / 'img_dir' / split, self.root / 'ann_bev_dir' / split):
                folder.mkdir(parents=True, exist_ok=True)
                for torn in folder.glob(f'{_TEMPORARY}*'):
                    torn.unlink(missing_ok=True)

    def is_finished(self, splits: tuple[str, ...], name: str, suffix: str) -> bool:
        """Tell whether a sample is there. An image whose link leads nowhere is not."""
        return all(self.label(split, name).is_file() and self.image(split, name, suffix).is_file() for split in splits)

    def write_sample(self, splits: tuple[str, ...], name: str, image: Path, bits_ZX: np.ndarray) -> None:
        """Write one sample to its splits, and take it out of the others.

        Args:
            splits: Splits it belongs to.
            name: Stem of its files.
            image: The source image.
            bits_ZX: Its label, uint16.
        """
        encoded = cv2.imencode('.png', bits_ZX)[1].tobytes()
        for split in _SPLITS:
            image_path, label_path = self.image(split, name, image.suffix), self.label(split, name)
            if split in splits:
                _replace(image_path, lambda temporary: self._place(image, temporary))
                _replace(label_path, lambda temporary: temporary.write_bytes(encoded))
            else:
                label_path.unlink(missing_ok=True)
                image_path.unlink(missing_ok=True)

    def _place(self, image: Path, target: Path) -> None:
        if self.link == 'copy':
            shutil.copyfile(image, target)
            return
        if self.link in ('auto', 'hard'):
            try:
                os.link(image.resolve(), target)
                return
            except OSError as error:
                if self.link == 'hard':
                    raise UserError(
                        f'{image}: no hard link to it from {self.root} ({error.strerror}): they must be on one file '
                        'system. Pass --link symlink or --link copy.'
                    ) from error
        target.symlink_to(image.resolve())

    def write_calibration(self, matrices: dict[str, np.ndarray]) -> None:
        """Add camera matrices to ``calib.json``; those of other samples stay.

        Args:
            matrices: 3x3 matrices by name of the sample.

        Raises:
            DataError: If the file is there but broken.
        """
        path = self.root / 'calib.json'
        try:
            known = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
        except ValueError as error:
            raise DataError(f'{path}: not readable as JSON: {error}. Move it away.') from error
        known |= {name: matrix_33.tolist() for name, matrix_33 in matrices.items()}
        _replace(path, lambda temporary: temporary.write_text(json.dumps(known), encoding='utf-8'))

    def agree_on(self, settings: dict[str, str], force: bool) -> None:
        """Record how labels are made, or stop if those that are there were made differently.

        Args:
            settings: What the labels depend on.
            force: Do not stop.

        Raises:
            UserError: If there are labels made with other settings, or by another tool.
        """
        path = self.root / 'prepare.json'
        has_labels = any(any((self.root / 'ann_bev_dir' / split).glob('*.png')) for split in _SPLITS)
        if has_labels and not force:
            try:
                before = json.loads(path.read_text(encoding='utf-8'))
            except (OSError, ValueError) as error:
                raise UserError(
                    f'{self.root} holds labels, but no {path.name}: another tool made them. Choose another --out, or '
                    'pass --force to make labels beside them (same names are replaced).'
                ) from error
            changed = [key for key in settings if before.get(key) != settings[key]]
            if changed:
                key = changed[0]
                raise UserError(
                    f'{self.root}: its labels were made with {key} = {before.get(key)}, this run has {settings[key]}. '
                    'Choose another --out, or pass --force to make all of this run anew.'
                )
        _replace(path, lambda temporary: temporary.write_text(json.dumps(settings, indent=2) + '\n', encoding='utf-8'))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name beside it, then rename it."""
    temporary = path.with_name(f'{_TEMPORARY}{os.getpid()}-{path.name}')
    temporary.unlink(missing_ok=True)
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        # After os.replace of two hard links to one file POSIX leaves both names.
        temporary.unlink(missing_ok=True)
