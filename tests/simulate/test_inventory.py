from datetime import date

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from glaciercube.simulate.inventory import inventory

GRID = GeoBox.from_bbox((423_000, 5_149_000, 424_000, 5_150_000), "EPSG:32632", resolution=10)


def glaciers():
    extent = np.zeros((100, 100), bool)
    extent[10:50, 10:60] = True
    extent[20:30, 20:30] = False  # a nunatak
    extent[70:90, 70:90] = True
    extent[95, 5] = True  # too small
    elevation = np.linspace(3000, 2000, 100)[:, np.newaxis] + np.zeros((1, 100))
    return inventory(extent, elevation, np.full((100, 100), 12.0), GRID, date(2021, 7, 5))


def test_one_row_per_glacier_the_largest_first():
    frame = glaciers()
    assert frame.rgi_id.tolist() == ["RGI2000-v7.0-G-11-SIM01", "RGI2000-v7.0-G-11-SIM02"]
    assert frame.area_km2.tolist() == pytest.approx([0.19, 0.04])
    assert frame.src_date.iloc[0] == "2021-07-05T00:00:00"
    assert frame.crs.to_epsg() == 4326


def test_polygons_have_the_area_of_their_pixels_holes_left_out():
    utm = glaciers().to_crs(32632)
    # metres survive the way to degrees and back to a millimetre or so
    np.testing.assert_allclose(utm.area / 1e6, utm.area_km2, rtol=1e-6)
    assert len(utm.geometry.iloc[0].interiors) == 1


def test_elevations_and_places_are_those_of_the_glacier():
    frame = glaciers()
    first = frame.iloc[0]
    assert first.zmax_m == pytest.approx(3000 - 10 * 1000 / 99)
    assert first.zmin_m < first.zmed_m < first.zmax_m
    assert first.slope_deg == 12
    assert first.utm_zone == 32
    assert first.geometry.bounds[0] < first.cenlon < first.geometry.bounds[2]


def test_no_glacier_gives_no_row():
    nothing = np.zeros((100, 100), bool)
    heights = np.zeros((100, 100))
    frame = inventory(nothing, heights, heights, GRID, date(2021, 7, 5))
    assert frame.empty
    assert "rgi_id" in frame
    assert frame.crs is not None
