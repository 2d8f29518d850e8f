"""Distance to the nearest glacier."""

import dask
import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Geod, Transformer

from acquire.hills import box_at
from glaciercube import grid, schema
from glaciercube.acquire.proximity import glacier_distance_on
from glaciercube.errors import GridError, SchemaError

X, Y = 500_000.0, 5_200_000.0


@pytest.fixture
def box():
    """Return a grid of 2.4 x 2 km on the central meridian, where UTM's scale is 0.9996."""
    return box_at(X, Y, 100, 120, 20)


@pytest.fixture
def outlines():
    """Return a ragged glacier with a nunatak, a second one, and one far away."""
    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    radius = 500 * (1 + 0.2 * np.sin(5 * angle) + 0.05 * rng.normal(size=200))
    ring = np.stack([X + 900 + radius * np.cos(angle), Y - 900 + radius * np.sin(angle)], 1)
    hole = [(X + 850, Y - 950), (X + 950, Y - 950), (X + 950, Y - 850), (X + 850, Y - 850)]
    shapes = [
        shapely.Polygon(ring, [hole]),
        shapely.box(X + 2000, Y - 300, X + 2010, Y - 290),  # half a pixel
        shapely.box(X + 9000, Y, X + 9500, Y + 500),
    ]
    return gpd.GeoDataFrame(geometry=shapes, crs=32632)


def truth(box, outlines):
    x, y = np.meshgrid(*(box.coordinates[name].values for name in ("x", "y")))
    every = shapely.union_all(outlines.geometry.to_numpy())
    return shapely.distance(shapely.points(x, y), every) / 0.9996


@pytest.mark.parametrize("chunk", [1024, 64, 33])
def test_it_is_the_distance_to_the_polygons(box, outlines, chunk, no_compute):
    with no_compute:
        found = glacier_distance_on(box, outlines, chunk=chunk)
    assert found.dtype == np.float32
    assert found.chunks[0][0] == min(chunk, 100)
    np.testing.assert_allclose(found, truth(box, outlines), atol=0.02)
    inside = truth(box, outlines) == 0
    assert 500 < inside.sum() < 2500
    assert (found.values[inside] == 0).all()
    assert found.values[45, 45] > 0  # the nunatak
    schema.check(found.to_dataset(), {"glacier_distance": schema.CUBE_MORE["glacier_distance"]}, "")
    assert grid.grid_of(found) == box


@pytest.mark.parametrize("chunk", [17, 50])
def test_chunks_and_cuts_change_nothing(box, outlines, chunk):
    whole = glacier_distance_on(box, outlines, max_distance_m=300).values
    assert (whole == 300).any()
    parts = glacier_distance_on(box, outlines, max_distance_m=300, chunk=chunk).values
    np.testing.assert_array_equal(parts, whole)
    cut = glacier_distance_on(box[13:70, 5:90], outlines, max_distance_m=300, chunk=chunk).values
    np.testing.assert_allclose(cut, whole[13:70, 5:90], atol=1e-3)  # the scale is the cut's


def test_beyond_the_cap_is_the_cap(box, outlines):
    found = glacier_distance_on(box, outlines, max_distance_m=250)
    assert found.attrs["max_distance_m"] == 250
    np.testing.assert_allclose(found, np.minimum(truth(box, outlines), 250), atol=0.02)
    away = glacier_distance_on(box.translate_pix(5000, 0), outlines)
    assert (away == 5000).all()


def test_outlines_beyond_the_grid_count(box, outlines):
    far = outlines.iloc[2:]
    found = glacier_distance_on(box, far, max_distance_m=20_000, chunk=30).values
    np.testing.assert_allclose(found, truth(box, far), atol=0.02)


def test_outlines_of_another_crs_are_brought_to_the_grid(box, outlines):
    there = glacier_distance_on(box, outlines.to_crs(3413)).values
    np.testing.assert_allclose(there, truth(box, outlines), atol=0.1)


@pytest.mark.parametrize(
    ("crs", "step", "longitude", "latitude"),
    [
        ("EPSG:4326", 1e-3, 86.9, 27.9),
        ("EPSG:4326", 1e-3, 16.0, 78.2),
        ("EPSG:3413", 100.0, -51.0, 69.2),
        ("EPSG:3857", 100.0, 10.8, 46.8),
        ("EPSG:4326", 1e-3, 20.0, 85.0),
    ],
)
def test_metres_are_on_the_ground(crs, step, longitude, latitude):
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(longitude, latitude)
    box = box_at(x - 30 * step, y + 30 * step, 60, 60, step, crs)
    tiny = shapely.Point(longitude, latitude).buffer(1e-6)
    found = glacier_distance_on(
        box, gpd.GeoDataFrame(geometry=[tiny], crs=4326), max_distance_m=50_000, chunk=25
    )
    px, py = Transformer.from_crs(crs, 4326, always_xy=True).transform(
        *np.meshgrid(found["x"], found["y"])
    )
    start = np.full_like(px, longitude), np.full_like(py, latitude)
    length = Geod(ellps="WGS84").inv(*start, px, py)[2]
    np.testing.assert_allclose(found, length, rtol=2e-3, atol=1)


def test_south_up_grids_have_the_same(box, outlines):
    upright = glacier_distance_on(box, outlines).values
    flipped = glacier_distance_on(box.flipy(), outlines, chunk=30).values[::-1]
    np.testing.assert_allclose(flipped, upright, atol=1e-3)


def test_names_are_functions_of_grid_and_outlines(box, outlines):
    name = glacier_distance_on(box, outlines).data.name
    assert glacier_distance_on(box, outlines.copy()).data.name == name
    assert glacier_distance_on(box, outlines.iloc[1:]).data.name != name
    assert glacier_distance_on(box.translate_pix(1, 0), outlines).data.name != name
    assert glacier_distance_on(box, outlines, max_distance_m=4999).data.name != name
    assert glacier_distance_on(box, outlines, chunk=50).data.name != name


def test_threads_and_processes_give_the_same(box, outlines):
    found = glacier_distance_on(box, outlines, chunk=12)
    with dask.config.set(scheduler="sync"):
        expected = found.values
    np.testing.assert_array_equal(found.values, expected)
    with dask.config.set(scheduler="processes", num_workers=1):
        np.testing.assert_array_equal(found.values, expected)


def test_a_block_carries_only_what_is_near(box, outlines):
    graph = glacier_distance_on(box, outlines, chunk=20, max_distance_m=100).data.__dask_graph__()
    blocks = [key for key in graph if isinstance(key, tuple) and key[0].startswith("glacier-dist")]
    assert len(blocks) == 30
    assert len(graph) <= 61


def test_what_is_missing_is_said(box, outlines):
    with pytest.raises(GridError, match=r"outlines with a coordinate reference system"):
        glacier_distance_on(box, gpd.GeoDataFrame(geometry=outlines.geometry.to_numpy()))
    points = gpd.GeoDataFrame(geometry=[shapely.Point(X, Y)], crs=32632)
    with pytest.raises(SchemaError, match=r"needs polygons, the outlines hold \['Point'\]"):
        glacier_distance_on(box, points)
    with pytest.raises(SchemaError, match=r"hold \['nothing'\]"):
        glacier_distance_on(box, points.iloc[:0])
    for wrong in (0, -5, np.inf, np.nan):
        with pytest.raises(SchemaError, match="max_distance_m is a length such as 5000 m, found"):
            glacier_distance_on(box, outlines, max_distance_m=wrong)
    with pytest.raises(SchemaError, match="found 0"):
        glacier_distance_on(box, outlines, chunk=0)


def test_hintereisferner(real_data):
    outlines = gpd.read_file(real_data("oggm-glaciers") / "Hintereisferner.shp")
    found = glacier_distance_on(grid.grid_around(outlines, 100), outlines)
    area = float((found == 0).sum()) * 0.01
    expected = outlines.to_crs(32632).area.sum() / 1e6
    assert area == pytest.approx(expected, rel=0.02)
    assert float(found.max()) < 5000
