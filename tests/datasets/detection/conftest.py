"""A small COCO set whose images tell which they are."""

import json

import cv2
import numpy as np
import pytest

LOAD = dict(type='LoadImageFromFile')


@pytest.fixture
def coco_root(tmp_path):
    """Six images of 60x80, each of one gray level, a white square in each; the last has none."""
    (tmp_path / 'images').mkdir()
    coco = dict(images=[], annotations=[], categories=[dict(id=3, name='drone'), dict(id=1, name='bird')])
    for number in range(6):
        image = np.full((60, 80, 3), 20 * number + 10, np.uint8)
        x, y = 8 * number, 6 * number
        if number < 5:
            image[y : y + 20, x : x + 20] = 255
            coco['annotations'].append(
                dict(
                    id=number + 1,
                    image_id=number + 100,
                    category_id=3 if number % 2 else 1,
                    bbox=[x, y, 20, 20],
                    area=400,
                    iscrowd=0,
                )
            )
        cv2.imwrite(str(tmp_path / 'images' / f'{number}.png'), image)
        cv2.imwrite(str(tmp_path / 'images' / f'{number}_event.png'), 255 - image)
        coco['images'].append(
            dict(
                id=number + 100,
                file_name=f'images/{number}.png',
                pair_file_name=f'images/{number}_event.png',
                height=60,
                width=80,
            )
        )
    (tmp_path / 'train.json').write_text(json.dumps(coco))
    return tmp_path


@pytest.fixture
def change_json(coco_root):
    """Change the json: ``change_json(lambda coco: ...)``."""

    def change(function):
        path = coco_root / 'train.json'
        coco = json.loads(path.read_text())
        function(coco)
        path.write_text(json.dumps(coco))

    return change
