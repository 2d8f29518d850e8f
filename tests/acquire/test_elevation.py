"""Elevation on a grid."""

import dask
import numpy as np
import pytest
import rasterio
from pyproj import Transformer

from acquire.scenery import SCENES, elevation, geobox, make_catalog, make_elevation, write_raster
from glaciercube import grid
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.elevation import elevation_on
from glaciercube.errors import AcquireError, GridError, SchemaError


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return make_catalog(tmp_path_factory.mktemp("tiny"), SCENES[:1])


@pytest.fixture
def raster(tmp_path):
    make_elevation(tmp_path)
    return tmp_path / "dem.tif"


def truth():
    box = geobox()
    x, y = np.meshgrid(box.coordinates["x"].values, box.coordinates["y"].values)
    to_degrees = Transformer.from_crs(32632, 4326, always_xy=True)
    return elevation(*to_degrees.transform(x, y))


@pytest.mark.parametrize("chunk", [16, 24, 1024])
def test_a_raster_is_interpolated_without_seams(raster, chunk, no_compute):
    with no_compute:
        data = elevation_on(geobox(), raster, chunk=chunk)
    assert data.dims == ("y", "x")
    assert data.dtype == np.float32
    assert max(data.chunks[0]) == min(chunk, 64)
    np.testing.assert_allclose(data, truth(), atol=0.002)  # metres; the plane is 7 m high


@pytest.mark.parametrize("chunk", [16, 1024])
def test_a_collection_is_too(catalog, chunk, no_compute):
    items = search(catalog)
    with no_compute:
        data = elevation_on(geobox(), "cop-dem-glo-30", items=items, chunk=chunk)
    np.testing.assert_allclose(data, truth(), atol=0.002)
    assert data.attrs["units"] == "m"
    assert data.attrs["vertical_datum"] == "EGM2008"


def test_a_datum_is_read_from_tags_or_not_invented(raster):
    assert elevation_on(geobox(), raster).attrs["vertical_datum"] == "unknown"
    with rasterio.open(raster, "r+") as file:
        file.update_tags(vertical_datum="EGM96")
    assert elevation_on(geobox(), raster).attrs["vertical_datum"] == "EGM96"


def test_a_compound_crs_states_its_datum(tmp_path):
    path = tmp_path / "dem.tif"
    values = np.ones((64, 64), np.float32)
    write_raster(path, values, 10, -9999, "EPSG:32632+3855")
    assert elevation_on(geobox(), path).attrs["vertical_datum"] == "EGM2008"


@pytest.mark.parametrize("nodata", [-9999, np.nan])
def test_voids_are_nan_and_never_mixed_in(tmp_path, nodata):
    values = np.full((64, 64), 2500, np.float32)
    values[:, 40:] = nodata
    write_raster(tmp_path / "dem.tif", values, 10, nodata)
    data = elevation_on(geobox(), tmp_path / "dem.tif").values
    np.testing.assert_array_equal(data[:, :40], 2500)
    assert np.isnan(data[:, 40:]).all()


def test_beyond_the_raster_is_nan(tmp_path):
    write_raster(tmp_path / "dem.tif", np.full((30, 64), 2500, np.float32), 10, -9999)
    data = elevation_on(geobox(), tmp_path / "dem.tif").values
    assert np.isfinite(data[:30]).all()
    assert np.isnan(data[31:]).all()


def test_integers_become_floats(tmp_path):
    write_raster(tmp_path / "dem.tif", np.full((64, 64), 2500, np.int16), 10, -32768)
    assert elevation_on(geobox(), tmp_path / "dem.tif").values.dtype == np.float32


def test_names_follow_the_file_and_the_grid(raster):
    def name(box=None, **options):
        return elevation_on(box or geobox(), raster, **options).data.name

    assert name() == name()
    assert name(chunk=16) != name()
    assert name(geobox().pad(1)) != name()
    before = name()
    with rasterio.open(raster, "r+") as file:
        file.update_tags(vertical_datum="EGM96")
    assert name() != before


def test_processes_give_the_same(raster):
    data = elevation_on(geobox(), raster, chunk=32)
    with dask.config.set(scheduler="processes", num_workers=1):
        np.testing.assert_allclose(data, truth(), atol=0.002)


def test_what_is_neither_raster_nor_collection(catalog):
    with pytest.raises(
        AcquireError, match=r"'nasadem' is neither.*'tiny' has \['cop-dem-glo-30', 'sent"
    ):
        elevation_on(geobox(), "nasadem", items=search(catalog))
    with pytest.raises(AcquireError, match="do not lead to a catalogue.*path of a raster"):
        elevation_on(geobox(), "nasadem")
    with pytest.raises(AcquireError, match=r"cannot open the elevation gone.tif"):
        elevation_on(geobox(), "gone.tif")


def test_elsewhere(raster, catalog):
    away = geobox().translate_pix(100_000, 0)
    with pytest.raises(AcquireError, match=r"dem.tif' must cover EPSG:32632.*none of its 1"):
        elevation_on(away, raster)
    with pytest.raises(AcquireError, match=r"'cop-dem-glo-30' must cover .*none of its 1"):
        elevation_on(away, "cop-dem-glo-30", items=search(catalog))


def test_no_crs_names_the_file(tmp_path):
    write_raster(tmp_path / "dem.tif", np.ones((9, 9), np.float32), 10, crs=None)
    with pytest.raises(GridError, match=r"dem.tif has no coordinate reference system"):
        elevation_on(geobox(), tmp_path / "dem.tif")


def test_an_item_without_a_raster_is_named(catalog):
    items = search(catalog)
    dem = next(i for i in items[0].get_root().get_items(recursive=True) if i.id == "dem")
    asset = dem.assets.pop("data")
    with pytest.raises(
        AcquireError, match=r"item dem needs one of the assets \['data', .*it has \[\]"
    ):
        elevation_on(geobox(), "cop-dem-glo-30", items=items)
    dem.assets["other"] = asset
    np.testing.assert_allclose(
        elevation_on(geobox(), "cop-dem-glo-30", items=items), truth(), atol=0.002
    )


def test_a_real_dem_on_a_utm_grid(real_data):
    path = real_data("oggm-glaciers") / "srtm_oetztal.tif"
    with rasterio.open(path) as source:
        left, bottom, right, top = source.bounds
        middle = ((left + right) / 2, (bottom + top) / 2)
        (expected,) = next(source.sample([middle]))
    area = (middle[0] - 0.01, middle[1] - 0.01, middle[0] + 0.01, middle[1] + 0.01)
    data = elevation_on(grid.grid_around(area, 30), path).values
    assert np.isfinite(data).all()
    assert abs(float(data[data.shape[0] // 2, data.shape[1] // 2]) - float(expected)) < 60


@pytest.mark.parametrize("void", [-9999, -32768, np.nan, -np.inf])
def test_nothing_but_voids_is_said_before_anything_is_computed(tmp_path, void):
    write_raster(tmp_path / "dem.tif", np.full((64, 64), void, np.float32), 10, None)
    with pytest.raises(
        AcquireError,
        match=r"dem.tif' must have heights over EPSG:32632, 10 x 10.* only voids there .*-500 and "
        r"9000 m\); give another dem=",
    ):
        elevation_on(geobox(), tmp_path / "dem.tif")


def test_one_height_is_enough(tmp_path):
    values = np.full((64, 64), -9999, np.float32)
    values[40, 21] = 2500
    write_raster(tmp_path / "dem.tif", values, 10, None)
    box = geobox().zoom_to(resolution=2)
    found = elevation_on(box, tmp_path / "dem.tif", chunk=100).values
    assert (found[np.isfinite(found)] == 2500).all()
    assert 1 <= np.isfinite(found).sum() <= 225


def test_a_chunk_is_a_number_of_pixels(raster):
    with pytest.raises(SchemaError, match="found 0"):
        elevation_on(geobox(), raster, chunk=0)


def test_coarse_grids_have_no_seams(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(2500, 100, (640, 640)).astype(np.float32)
    write_raster(tmp_path / "dem.tif", values, 1, -9999)
    box = geobox()
    whole = elevation_on(box, tmp_path / "dem.tif").values
    assert 5 < whole.std() < 30  # averaged
    for chunk in (7, 24):
        np.testing.assert_array_equal(elevation_on(box, tmp_path / "dem.tif", chunk=chunk), whole)
