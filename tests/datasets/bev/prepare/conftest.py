"""A tiny nuScenes whose geometry can be worked out by hand.

The car stands at world (100, 200), looking along the world's +y. The front camera sits 1 m before its origin and 1.5 m
above the ground, level, so a world point has x = world x - 100 to the right and z = world y - 201 ahead. The back
camera sits at the origin and looks along -y: x = 100 - world x, z = 200 - world y.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

HALF = 0.5**0.5
EGO = dict(translation=[100, 200, 0], rotation=[HALF, 0, 0, HALF])  # yaw 90 degrees
FRONT = dict(translation=[1, 0, 1.5], rotation=[0.5, -0.5, 0.5, -0.5])
BACK = dict(translation=[0, 0, 1.5], rotation=[0.5, -0.5, -0.5, 0.5])
LIDAR = dict(translation=[1, 0, 1.8], rotation=[HALF, 0, 0, -HALF])  # x right, y forward
K = [[800.0, 0.0, 800.0], [0.0, 800.0, 450.0], [0.0, 0.0, 1.0]]  # sees |x| < z
MAP = 'boston-seaport'

# Name of the category: world center, width, length, height; all look along +y, as the car does.
BOXES = {
    'vehicle.car': ([105, 221, 0.75], [2, 4, 1.5]),
    'human.pedestrian.stroller': ([95, 211, 0.5], [1, 1, 1]),
    'vehicle.bus.bendy': ([100, 180, 1.5], [3, 10, 3]),
}


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def make_map(layers: dict[str, list[list[list[tuple[float, float]]]]]) -> dict:
    """Build a map expansion; a layer is a list of polygons, a polygon its outline and its holes."""
    tables: dict[str, list] = dict(node=[], polygon=[], drivable_area=[], ped_crossing=[], walkway=[], carpark_area=[])

    def add_ring(ring: Iterable[tuple[float, float]]) -> list[str]:
        tokens = []
        for x, y in ring:
            tokens.append(f'node{len(tables["node"])}')
            tables['node'].append(dict(token=tokens[-1], x=x, y=y))
        return tokens

    for layer, polygons in layers.items():
        tokens = []
        for outline, *holes in polygons:
            tokens.append(f'polygon{len(tables["polygon"])}')
            tables['polygon'].append(
                dict(
                    token=tokens[-1],
                    exterior_node_tokens=add_ring(outline),
                    holes=[dict(node_tokens=add_ring(hole)) for hole in holes],
                )
            )
        if layer == 'drivable_area':
            tables[layer].append(dict(token='d0', polygon_tokens=tokens))
        else:
            tables[layer] += [dict(token=f'{layer}{token}', polygon_token=token) for token in tokens]
    return tables | dict(version='1.3')


def sweep(reach_m: float = 30.0) -> np.ndarray:
    """Return points (x right, y forward, z up) on a half circle of rays that end at the same distance ahead."""
    ratio = np.arange(-25, 25, 0.004)
    return np.column_stack([ratio * reach_m, np.full_like(ratio, reach_m), np.zeros_like(ratio)])


def write_sweep(path: Path, points_P3: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.column_stack([points_P3, np.zeros((len(points_P3), 2))]).astype(np.float32).tofile(path)


@pytest.fixture
def make_root(tmp_path) -> Callable[..., Path]:
    """Return a function that writes a nuScenes of the given scenes, one key frame each, and gives its folder."""

    def _make(scenes: tuple[str, ...] = ('scene-0061', 'scene-0103'), version: str = 'v1.0-mini') -> Path:
        root = tmp_path / 'raw'
        tables: dict[str, list[dict]] = dict(
            log=[dict(token='log', location=MAP)],
            scene=[dict(token=f't-{name}', name=name, log_token='log') for name in scenes],
            sample=[dict(token=f's-{name}', scene_token=f't-{name}', timestamp=0) for name in scenes],
            sensor=[dict(token=f'sensor-{name}', channel=name) for name in ('CAM_FRONT', 'CAM_BACK', 'LIDAR_TOP')],
            calibrated_sensor=[
                dict(token=f'cs-{name}', sensor_token=f'sensor-{name}', camera_intrinsic=matrix, **place)
                for name, place, matrix in (
                    ('CAM_FRONT', FRONT, K), ('CAM_BACK', BACK, K), ('LIDAR_TOP', LIDAR, []),
                )
            ],
            ego_pose=[dict(token='ego', **EGO), dict(token='elsewhere', translation=[0, 0, 0], rotation=[1, 0, 0, 0])],
            category=[dict(token=f'c-{name}', name=name) for name in BOXES],
            instance=[dict(token=f'i-{name}', category_token=f'c-{name}') for name in BOXES],
            sample_annotation=[
                dict(sample_token=f's-{scene}', instance_token=f'i-{name}', translation=center, size=size,
                     rotation=EGO['rotation'])
                for scene in scenes for name, (center, size) in BOXES.items()
            ],
            sample_data=[],
        )  # fmt: skip
        image = np.full((900, 1600, 3), 90, np.uint8)
        for scene in scenes:
            for channel, suffix in (('CAM_FRONT', 'jpg'), ('CAM_BACK', 'jpg'), ('LIDAR_TOP', 'pcd.bin')):
                file = f'samples/{channel}/{scene}.{suffix}'
                common = dict(
                    sample_token=f's-{scene}', calibrated_sensor_token=f'cs-{channel}', width=1600, height=900
                )
                tables['sample_data'] += [
                    dict(token=f'{channel}-{scene}', ego_pose_token='ego', filename=file, is_key_frame=True, **common),
                    dict(token=f'{channel}-{scene}-between', ego_pose_token='elsewhere', filename='sweeps/none.jpg',
                         is_key_frame=False, **common),
                ]  # fmt: skip
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                if suffix == 'jpg':
                    cv2.imwrite(str(root / file), image)
                else:
                    write_sweep(root / file, sweep())
        (root / version).mkdir()
        for name, records in tables.items():
            (root / version / f'{name}.json').write_text(json.dumps(records, indent=0))
        (root / 'maps' / 'expansion').mkdir(parents=True)
        (root / 'maps' / 'expansion' / f'{MAP}.json').write_text(
            json.dumps(
                make_map(
                    dict(
                        drivable_area=[[rectangle(90, 201, 110, 241), rectangle(95, 221, 97, 225)]],
                        ped_crossing=[[rectangle(90, 231, 110, 235)]],
                        walkway=[[rectangle(110, 201, 113, 241)]],
                        carpark_area=[[rectangle(60, 60, 70, 70)]],
                    )
                )
            )
        )
        return root

    return _make


def bit(bits_ZX: np.ndarray, index: int) -> np.ndarray:
    return (bits_ZX >> index & 1).astype(bool)


def cells(x0: float, z0: float, x1: float, z1: float) -> np.ndarray:
    """Return the cells whose point lies in a rectangle of the grid, its border included: the slow literal rule."""
    expected = np.zeros((196, 200), bool)
    for row in range(196):
        for column in range(200):
            expected[row, column] = x0 <= -25 + column / 4 <= x1 and z0 <= 1 + row / 4 <= z1
    return expected
