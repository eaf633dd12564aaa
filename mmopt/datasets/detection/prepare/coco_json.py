"""Writing COCO's json format: what the converters of detection data end in."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmopt.utils.whole_file import write_whole

__all__ = ['CocoJson']


class CocoJson:
    """Images and boxes of one split; ids count from 1.

    Args:
        classes: Names of the categories.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self.images: list[dict] = []
        self.annotations: list[dict] = []

    def add(
        self,
        file_name: str,
        size: tuple[int, int],
        boxes: Iterable[tuple[float, float, float, float, int] | tuple[float, float, float, float, int, bool]],
        **more: Any,
    ) -> None:
        """Add an image.

        Args:
            file_name: Its path from the data root.
            size: Height and width.
            boxes: x, y, width, height in pixels, index of the class, and whether it is a crowd (no, if left out).
            **more: Further entries of the image.
        """
        self.images.append(dict(id=len(self.images) + 1, file_name=file_name, height=size[0], width=size[1], **more))
        for x, y, width, height, label, *crowd in boxes:
            self.annotations.append(
                dict(
                    id=len(self.annotations) + 1,
                    image_id=len(self.images),
                    category_id=label + 1,
                    bbox=[x, y, width, height],
                    area=width * height,
                    iscrowd=int(any(crowd)),
                )
            )

    def write(self, path: Path, **info: Any) -> None:
        """Write the file; it appears complete or not at all.

        Args:
            **info: What the key ``info`` is to hold.
        """
        categories = [dict(id=number, name=name) for number, name in enumerate(self.classes, start=1)]
        content = dict(info=info, images=self.images, annotations=self.annotations, categories=categories)
        write_whole(path, json.dumps(content))
