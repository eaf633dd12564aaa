"""A small reader of nuScenes' map expansion (``maps/expansion/<location>.json``, version 1.3).

A map is a set of tables. ``node`` gives x and y in the world, ``polygon`` lists the nodes of an outline and of its
holes, and the layers refer to polygons: ``drivable_area`` to several each (``polygon_tokens``), the others to one.

Deviation from PON: outlines that cross themselves are mended, not left out.
"""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.datasets.bev.prepare.rasterize import (
    CELL_M,
    GRID_SHAPE,
    X_MIN_M,
    Z_MIN_M,
    fill_polygon,
    grid_to_world,
)  # fmt: skip
from mmopt.datasets.bev.prepare.views import transform
from mmopt.utils.errors import DataError, DataNotFoundError, UserError

__all__ = ['LAYERS', 'MapGround', 'count_bad_outlines', 'load_layers', 'require_shapely']

# In the order of the ground classes.
LAYERS = ('drivable_area', 'ped_crossing', 'walkway', 'carpark_area')
_MARGIN_M = 1.0


def require_shapely() -> Any:
    """Import shapely.

    Returns:
        The module.

    Raises:
        UserError: If it is not installed; says how to install it.
    """
    try:
        import shapely
    except ImportError as error:
        raise UserError(
            "Reading nuScenes' map expansion needs shapely: pip install -c requirements/constraints.txt -e "
            "'.[nuscenes]' (or pip install shapely)."
        ) from error
    return shapely


@dataclass(frozen=True)
class MapGround:
    """Ground classes from a map expansion.

    Args:
        path: The map.
    """

    path: Path

    def masks(self, world_to_grid_23: np.ndarray) -> np.ndarray:
        """Rasterize what of each layer lies in the grid."""
        shapely = require_shapely()
        # The window is cut out before rasterizing, a little wider than the grid: its own border must not be drawn.
        x_max, z_max = X_MIN_M + CELL_M * GRID_SHAPE[1], Z_MIN_M + CELL_M * GRID_SHAPE[0]
        corners_42 = np.array(
            [[x, z] for x, z in ((X_MIN_M, Z_MIN_M), (x_max, Z_MIN_M), (x_max, z_max), (X_MIN_M, z_max))]
        ) + _MARGIN_M * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        window = shapely.Polygon(transform(grid_to_world(world_to_grid_23), corners_42))
        masks_GZX = np.zeros((len(LAYERS), *GRID_SHAPE), bool)
        for mask_ZX, tree in zip(masks_GZX, load_layers(self.path), strict=True):
            for index in tree.query(window, predicate='intersects'):
                for polygon in _parts(shapely, shapely.intersection(tree.geometries[index], window)):
                    outline_V2, *holes = (
                        transform(world_to_grid_23, shapely.get_coordinates(ring))
                        for ring in (polygon.exterior, *polygon.interiors)
                    )
                    fill_polygon(mask_ZX, outline_V2, holes)
        return masks_GZX


def _check_version(path: Path, tables: Any) -> None:
    """Refuse maps before 1.3, as the devkit does: their lanes and outlines differ."""
    version = str(tables.get('version', '')) if isinstance(tables, dict) else ''
    numbers = tuple(int(part) for part in version.split('.') if part.isdigit())
    if numbers < (1, 3):
        raise UserError(
            f'{path}: the map expansion is of version {version or "1.0 (it names none)"}, 1.3 is needed. Download '
            '"Map expansion pack (v1.3)" of nuScenes and unpack it into maps/.'
        )


def load_layers(path: Path) -> list[Any]:
    """Read the layers of a map.

    Args:
        path: The map.

    Returns:
        One ``shapely.STRtree`` of valid polygons per layer of ``LAYERS``.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it lacks a table or a column, or refers to a polygon or node that it does not hold.
    """
    return _read_map(path)[0]


def count_bad_outlines(path: Path) -> int:
    """Return how many outlines of a map are none, and so are not in its layers: too few nodes, or no numbers."""
    return _read_map(path)[1]


# A map takes seconds to read; Boston's and one of Singapore's at a time cover runs that go through scenes in order.
@lru_cache(maxsize=4)
def _read_map(path: Path) -> tuple[list[Any], int]:
    shapely = require_shapely()
    try:
        tables = json.loads(path.read_text(encoding='utf-8'))
        _check_version(path, tables)
        nodes = {node['token']: _point(node['x'], node['y']) for node in tables['node']}
        outlines = {polygon['token']: polygon for polygon in tables['polygon']}

        def to_polygon(token: str) -> Any:
            outline = outlines[token]
            rings = [outline['exterior_node_tokens'], *(hole['node_tokens'] for hole in outline['holes'])]
            exterior, *holes = [[nodes[node] for node in ring] for ring in rings]
            if not _has_area(exterior):
                return None
            return shapely.Polygon(exterior, [hole for hole in holes if _has_area(hole)])

        layers = [
            [to_polygon(token) for record in tables[layer] for token in _polygon_tokens(layer, record)]
            for layer in LAYERS
        ]
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f'{path}: no such map. Unpack the map expansion (nuScenes-map-expansion-v1.3.zip) into '
            f'{path.parent.parent}: its folder "expansion" holds one JSON file per city.'
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(f'{path}: not readable as JSON: {error}. Unpack it again.') from error
    except KeyError as error:
        raise DataError(
            f'{path}: {error} is missing: a table, a column, or a token that is referred to. This reads map expansion '
            '1.3; unpack it again.'
        ) from error
    except TypeError as error:  # null where a list or an object is due
        raise DataError(f'{path}: a table or an outline is null: {error}. Unpack the map expansion again.') from error
    num_bad = sum(polygon is None for polygons in layers for polygon in polygons)
    valid = [[shapely.make_valid(polygon) for polygon in polygons if polygon is not None] for polygons in layers]
    return [
        shapely.STRtree([part for whole in polygons for part in _parts(shapely, whole)]) for polygons in valid
    ], num_bad


def _point(x: Any, y: Any) -> tuple[float, float] | None:
    """Return a node's place; None if it has none."""
    numbers = isinstance(x, int | float) and isinstance(y, int | float) and math.isfinite(x) and math.isfinite(y)
    return (x, y) if numbers else None


def _has_area(ring: list) -> bool:
    return None not in ring and len(set(ring)) > 2


def _polygon_tokens(layer: str, record: dict) -> list[str]:
    return record['polygon_tokens'] if layer == 'drivable_area' else [record['polygon_token']]


def _parts(shapely: Any, geometry: Any) -> list[Any]:
    """Take the polygons out of whatever mending or cutting left: lines and points have no area."""
    return [part for part in shapely.get_parts(geometry) if part.geom_type == 'Polygon' and not part.is_empty] + [
        polygon
        for part in shapely.get_parts(geometry)
        if part.geom_type in ('MultiPolygon', 'GeometryCollection')
        for polygon in _parts(shapely, part)
    ]
