"""Where items lie on a grid."""

import pystac
import pytest
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry import mapping

from glaciercube import sensors
from glaciercube.acquire.placement import central_longitude, footprints_on, grid_for, over_grid
from glaciercube.errors import AcquireError

UTM_1 = GeoBox.from_bbox((250_000, 7_300_000, 750_000, 7_350_000), "EPSG:32601", resolution=100)


def item(box):
    made = pystac.Item("a", mapping(box), list(box.bounds), None, {
        "start_datetime": "2022-08-05T10:30:00Z", "end_datetime": "2022-08-05T10:30:00Z",
    })  # fmt: skip
    return made


def test_the_longitude_in_the_middle_is_right_where_it_jumps():
    east = GeoBox.from_bbox((300_000, 7_300_000, 400_000, 7_350_000), "EPSG:32601", resolution=100)
    assert abs(central_longitude(east)) == pytest.approx(180, abs=1.5)
    assert central_longitude(UTM_1) == pytest.approx(-177, abs=0.1)


def test_a_footprint_over_the_antimeridian_covers_its_part_of_the_grid():
    both = shapely.MultiPolygon([shapely.box(170, 60, 180, 70), shapely.box(-180, 60, -170, 70)])
    assert footprints_on([item(both)], UTM_1)[0].area == pytest.approx(5000 * 500)
    west, gone = footprints_on(
        [item(shapely.box(-180, 60, -177, 70)), item(shapely.box(-90, 60, -89, 70))], UTM_1
    )
    assert west.bounds[2] == pytest.approx(2500, abs=1)  # the zone's central meridian
    assert gone.is_empty


def test_which_items_are_over_a_grid():
    near, far = item(shapely.box(-177, 65, -176, 67)), item(shapely.box(0, 65, 1, 67))
    assert over_grid([near, far], UTM_1) == [True, False]
    with pytest.raises(AcquireError, match="needs items over EPSG:32601, .* none of the 1 touches"):
        over_grid([far], UTM_1)


def test_the_grid_is_given_or_lies_around_the_area_or_the_items():
    rows = sensors.rows_of("landsat-oli-c2-l2")
    one = item(shapely.box(10, 46, 10.1, 46.1))
    assert grid_for([one], rows, UTM_1) is UTM_1
    around = grid_for([one], rows)
    assert abs(around.resolution.x) == 30
    assert around.crs.epsg == 32632
    snapped = grid_for([one], rows, (10, 46, 10.1, 46.1), resolution=60, snap=100)
    assert snapped.affine.c % 6000 == 0
