import json
import sys

import numpy as np
import pytest

from mmopt.datasets.bev.prepare.map_expansion import MapGround
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from tests.datasets.bev.prepare.conftest import cells, make_map, rectangle

IDENTITY_23 = np.array([[1.0, 0, 0], [0, 1, 0]])


@pytest.fixture
def write_map(tmp_path):
    def _write(**layers):
        path = tmp_path / 'maps' / 'expansion' / 'city.json'
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(make_map(layers)))
        return path

    return _write


def test_a_hole_does_not_erase_what_another_polygon_covers(write_map):
    with_hole, filler = [rectangle(-10, 5, 10, 25), rectangle(-5, 10, 5, 20)], [rectangle(-2, 12, 2, 14)]
    path = write_map(drivable_area=[filler, with_hole])
    expected = cells(-10, 5, 10, 25) & ~cells(-5, 10, 5, 20) | cells(-2, 12, 2, 14)
    np.testing.assert_array_equal(MapGround(path).masks(IDENTITY_23)[0], expected)


def test_the_border_of_the_window_is_not_drawn(write_map):
    path = write_map(walkway=[[rectangle(-500, -500, 500, 500), rectangle(-400, -400, 400, 400)]])
    assert not MapGround(path).masks(IDENTITY_23).any()


def test_a_polygon_wider_than_the_grid_fills_it(tmp_path):
    path = tmp_path / 'city.json'
    path.write_text(json.dumps(make_map(dict(carpark_area=[[rectangle(-500, -500, 500, 500)]]))))
    assert MapGround(path).masks(IDENTITY_23)[3].all()


def test_an_outline_that_crosses_itself_is_mended(write_map):
    bow_tie = [(-4, 10), (4, 18), (4, 10), (-4, 18)]
    masks_GZX = MapGround(write_map(ped_crossing=[[bow_tie]])).masks(IDENTITY_23)
    assert masks_GZX[1][cells(3.5, 12, 3.9, 16)].all()
    assert masks_GZX[1][cells(-3.9, 12, -3.5, 16)].all()
    assert not masks_GZX[1][cells(-0.5, 16, 0.5, 18)].any()


def test_a_turned_and_shifted_map_lands_where_the_affine_map_says(write_map):
    path = write_map(drivable_area=[[rectangle(100, 200, 104, 210)]])
    # x = world y - 205, z = 110 - world x.
    world_to_grid_23 = np.array([[0.0, 1, -205], [-1, 0, 110]])
    np.testing.assert_array_equal(MapGround(path).masks(world_to_grid_23)[0], cells(-5, 6, 5, 10))


def test_a_missing_map_says_what_to_unpack(tmp_path):
    with pytest.raises(DataNotFoundError, match=r'town.json: no such map. Unpack the map expansion'):
        MapGround(tmp_path / 'town.json').masks(IDENTITY_23)


@pytest.mark.parametrize('table', ['node', 'polygon', 'walkway'])
def test_a_missing_table_is_named(tmp_path, table):
    tables = make_map({})
    del tables[table]
    (tmp_path / 'city.json').write_text(json.dumps(tables))
    with pytest.raises(DataError, match=f"city.json: '{table}' is missing"):
        MapGround(tmp_path / 'city.json').masks(IDENTITY_23)


def test_a_broken_map_is_named(tmp_path):
    (tmp_path / 'city.json').write_text('{"node": [')
    with pytest.raises(DataError, match=r'city.json: not readable as JSON'):
        MapGround(tmp_path / 'city.json').masks(IDENTITY_23)


def test_without_shapely_the_command_to_install_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'shapely', None)
    with pytest.raises(UserError, match=r"needs shapely: pip install .* '.\[nuscenes\]'"):
        MapGround(tmp_path / 'city.json').masks(IDENTITY_23)
