"""A store is read by others: plain xarray, rioxarray, odc-geo, cf-xarray, GDAL; its COGs by GIS."""

import json
import shutil
import subprocess
import warnings

import numpy as np
import pandas as pd
import pytest
import rasterio
import rioxarray  # noqa: F401  (the accessor)
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioIOError

from glaciercube import grid, schema
from glaciercube.products.rasters import colours, export
from glaciercube.store import ledger
from glaciercube.store.appending import append
from glaciercube.store.layout import Block
from glaciercube.store.overviews import build_overviews
from glaciercube.store.places import place_of
from glaciercube.store.reading import read
from glaciercube.store.verification import verify
from glaciercube.store.writing import write

GEOBOX = GeoBox.from_bbox((600_000, 4_999_100, 600_700, 5_000_000), "EPSG:32632", resolution=10)
AFFINE = (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_000_000.0)
TIME = ("time", "y", "x")
SHARDS_SINCE = (3, 13)
"""GDAL that reads the sharding codec of Zarr 3 (its release notes)."""


def make_layers(days=("2021-08-01", "2022-08-05", "2023-08-03")):
    """Return every kind of variable that a store holds: codes, masks, scaled, plain, with bands."""
    generator = np.random.default_rng(3)
    rows, columns = GEOBOX.shape
    shape = (len(days), rows, columns)
    facies = generator.choice(np.uint8([0, 1, 2, 3, 6, 8, 255]), shape)
    extent = np.where(facies == 255, 255, facies < 6).astype(np.uint8)
    reflectance = generator.uniform(-0.05, 1.9, (len(days), 2, rows, columns)).astype(np.float32)
    reflectance[:, :, :9, :7] = np.nan
    one = {"units": "1"}
    dataset = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), reflectance, dict(one)),
            "valid": (TIME, np.isfinite(reflectance[:, 0]), dict(one)),
            "facies": (TIME, facies, schema.flag_attrs("facies")),
            "extent": (TIME, extent, schema.flag_attrs("extent")),
            "confidence": (TIME, generator.random(shape, np.float32), dict(one)),
            "acquired": (TIME, np.full(shape, 18_840, np.int32), {"units": schema.DAYS}),
            "elevation": (
                ("y", "x"),
                generator.random((rows, columns), np.float32),
                {"units": "m"},
            ),
        },
        coords={
            "time": pd.to_datetime(list(days)).as_unit("ns"),
            "band": ["green", "swir16"],
            "orbit": ("time", np.arange(len(days)) + 108),
        },
        attrs={"sensor": "sentinel-2-l2a", "level": "surface"},
    )
    return grid.georeferenced(dataset, GEOBOX).chunk(time=1, band=-1, y=32, x=40)


@pytest.fixture(scope="module")
def layers():
    return make_layers()


def written(layers, path):
    write(layers, path)


def resumed(layers, path):
    write(layers, path)
    ledger.forget(place_of(path), [Block(0, 0), Block(1, 1, time=2)])
    assert write(layers, path).written == 2


def repaired(layers, path):
    write(layers, path)
    shard = next(file for file in (path / "facies" / "c").rglob("*") if file.is_file())
    shard.write_bytes(shard.read_bytes()[:10])
    verify(path, forget=True)
    assert write(layers, path).written == 1


def replaced(layers, path):
    write(layers.isel(time=[0, 1]), path)
    write(layers, path, overwrite=True)


def grown(layers, path):
    append(layers.isel(time=[0, 2]), path)
    append(layers.isel(time=[1]), path)


def with_levels(layers, path):
    grown(layers, path)
    build_overviews(path, (2, 4))


def grown_with_levels(layers, path):
    append(layers.isel(time=[0, 2]), path)
    build_overviews(path, (2, 4))
    append(layers.isel(time=[1]), path)


@pytest.fixture(
    scope="module",
    params=[written, resumed, repaired, replaced, grown, with_levels, grown_with_levels],
)
def path(request, tmp_path_factory, layers):
    """Return a store after each way in which its metadata may have been written."""
    path = tmp_path_factory.mktemp(request.param.__name__) / "layers.zarr"
    request.param(layers, path)
    return path


@pytest.fixture
def plain(path):
    """Return the store as plain xarray sees it, without a word from this package."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_zarr(path, decode_coords="all")


# plain xarray


def test_plain_xarray_finds_values_dates_and_names(plain, layers):
    found = plain.sortby("time").compute()
    assert set(found.data_vars) == set(layers.data_vars)
    np.testing.assert_array_equal(found.time.values, layers.time.values)
    assert found.band.values.tolist() == ["green", "swir16"]
    np.testing.assert_array_equal(found.orbit.values, layers.orbit.values)
    for name in ("valid", "facies", "extent", "elevation"):
        assert found[name].dtype == layers[name].dtype
        assert found[name].dims == layers[name].dims
        np.testing.assert_array_equal(found[name].values, layers[name].values)
    for name, step in (("reflectance", 1e-4), ("confidence", 1 / 250)):
        # half a step of the codes, and float32
        np.testing.assert_allclose(found[name], layers[name], rtol=0, atol=step / 2 + 1e-6)
        np.testing.assert_array_equal(np.isnan(found[name]), np.isnan(layers[name]))


def test_plain_xarray_gives_what_read_gives(plain, path):
    ours = read(path).compute()
    found = plain.sortby("time").compute()
    for name in ("valid", "facies", "extent", "elevation"):
        np.testing.assert_array_equal(found[name].values, ours[name].values)
    for name in ("reflectance", "confidence"):
        np.testing.assert_allclose(found[name].values, ours[name].values, rtol=0, atol=1e-6)
    for name in ("x", "y", "time", "band"):
        np.testing.assert_array_equal(found[name].values, ours[name].values)


def test_plain_xarray_keeps_codes_as_integers(plain, path):
    for name in ("facies", "extent"):
        assert plain[name].dtype == np.uint8
        assert "_FillValue" not in plain[name].attrs | plain[name].encoding
        assert zarr.open_group(path, mode="r")[name].fill_value == 255
    assert plain.valid.dtype == bool


def test_the_crs_is_a_coordinate_of_every_variable(plain):
    assert "spatial_ref" in plain.coords
    for name, array in plain.data_vars.items():
        assert array.encoding["grid_mapping"] == "spatial_ref", name
        assert "spatial_ref" in array.coords, name


# rioxarray and odc-geo


def test_rioxarray_finds_crs_and_transform_of_every_variable(plain):
    assert plain.rio.crs.to_epsg() == 32632
    for name, array in plain.data_vars.items():
        assert array.rio.crs.to_epsg() == 32632, name
        assert tuple(array.rio.transform())[:6] == AFFINE, name
        assert tuple(array.rio.transform(recalc=True))[:6] == pytest.approx(AFFINE), name
        assert array.rio.bounds() == (600_000, 4_999_100, 600_700, 5_000_000), name
        assert (array.rio.y_dim, array.rio.x_dim) == ("y", "x"), name


def test_rioxarray_reprojects_codes(plain):
    found = plain.facies.isel(time=0).rio.reproject("EPSG:3035", nodata=255)
    assert found.dtype == np.uint8
    assert set(np.unique(found)) <= {0, 1, 2, 3, 6, 8, 255}


def test_odc_geo_finds_the_grid_of_every_variable(plain):
    for array in plain.data_vars.values():
        assert array.odc.geobox == GEOBOX
    assert plain.odc.geobox == GEOBOX


# CF


def test_cf_attributes_are_on_every_variable(plain):
    for name, array in plain.data_vars.items():
        # the unit of a variable of dates is in its encoding once xarray has decoded it
        assert {"units"} & (array.attrs.keys() | array.encoding.keys()), name
    for name in ("facies", "extent"):
        attrs = plain[name].attrs
        codes, words = attrs["flag_values"], attrs["flag_meanings"].split()
        assert len(codes) == len(words) == len(set(words))
        wanted = {category.name: category.code for category in schema.TASKS[name]}
        assert dict(zip(words, codes, strict=True)) == wanted | {"nodata": 255}
    assert plain.spatial_ref.attrs["grid_mapping_name"] == "transverse_mercator"
    assert plain.spatial_ref.attrs["GeoTransform"].split() == [
        "600000", "10", "0", "5000000", "0", "-10",
    ]  # fmt: skip


def test_cf_xarray_selects_classes_by_name(plain, layers):
    pytest.importorskip("cf_xarray")
    facies = layers.facies.values
    found = plain.sortby("time")
    for word, code in (("ice", 0), ("snow", 1), ("debris", 2), ("nodata", 255)):
        np.testing.assert_array_equal((found.facies.cf == word).values, facies == code)
    np.testing.assert_array_equal(
        found.facies.cf.isin(["snow", "firn"]).values, np.isin(facies, (1, 3))
    )
    assert found.cf.grid_mapping_names == {"transverse_mercator": ["spatial_ref"]}


# GeoZarr


def test_geozarr_attributes_are_complete_on_group_and_variables(path, layers):
    root = zarr.open_group(path, mode="r")
    nodes = {"the group": root} | {name: root[name] for name in layers.data_vars}
    for name, node in nodes.items():
        attrs = dict(node.attrs)
        conventions = {one["name"]: one for one in attrs["zarr_conventions"]}
        assert conventions.keys() >= {"spatial:", "proj:"}, name
        assert ("multiscales" in conventions) == ("multiscales" in attrs), name
        for one in conventions.values():
            assert one.keys() == {"uuid", "name", "schema_url", "spec_url", "description"}
        assert attrs["spatial:dimensions"] == ["y", "x"], name
        assert attrs["spatial:transform"] == [*AFFINE], name
        assert attrs["spatial:bbox"] == [600_000, 4_999_100, 600_700, 5_000_000], name
        assert attrs["spatial:shape"] == [90, 70], name
        assert attrs["spatial:registration"] == "pixel", name
        assert attrs["proj:code"] == "EPSG:32632", name


def test_levels_say_the_same_of_themselves(tmp_path, layers):
    with_levels(layers, tmp_path / "layers.zarr")
    root = zarr.open_group(tmp_path / "layers.zarr", mode="r")
    for factor in (2, 4):
        group = root[f"overviews/{factor}"]
        shape = [-(-90 // factor), -(-70 // factor)]
        for node in (group, *(group[name] for name in layers.data_vars)):
            attrs = dict(node.attrs)
            assert {one["name"] for one in attrs["zarr_conventions"]} == {"spatial:", "proj:"}
            a, b, c, d, e, f = AFFINE
            assert attrs["spatial:transform"] == [a * factor, b, c, d, e * factor, f]
            assert attrs["spatial:shape"] == shape
            assert attrs["spatial:bbox"][0] == 600_000
            assert attrs["spatial:bbox"][3] == 5_000_000
            assert attrs["proj:code"] == "EPSG:32632"


def test_dimensions_are_named_on_disk(path, layers):
    root = zarr.open_group(path, mode="r")
    for name, array in layers.data_vars.items():
        assert root[name].metadata.dimension_names == array.dims


def test_a_grid_without_a_code_is_described_in_words(tmp_path, layers):
    text = "+proj=laea +lat_0=46 +lon_0=8 +x_0=0 +y_0=0 +ellps=GRS80 +units=m"
    box = GeoBox.from_bbox((0, 0, 700, 900), text, resolution=10)
    codes = layers[["facies"]].drop_vars(["x", "y", "spatial_ref"])
    write(grid.georeferenced(codes, box), tmp_path / "local.zarr")
    build_overviews(tmp_path / "local.zarr", (2,))
    for group in (None, "overviews/2"):
        found = xr.open_zarr(tmp_path / "local.zarr", group=group, decode_coords="all")
        assert found.odc.geobox.crs.proj.equals(box.crs.proj)
        assert found.rio.crs.to_dict()["proj"] == "laea"
        assert "Lambert Azimuthal Equal Area" in found.attrs["proj:wkt2"]
        assert "proj:code" not in found.attrs


# GDAL


def gdal_version():
    return tuple(int(part) for part in rasterio.__gdal_version__.split(".")[:2])


def test_gdal_reads_the_store(tmp_path, layers):
    if gdal_version() < SHARDS_SINCE:
        pytest.skip(f"GDAL {rasterio.__gdal_version__} does not read shards of Zarr 3")
    path = tmp_path / "layers.zarr"
    write(layers, path)
    with rasterio.open(f'ZARR:"{path}":/elevation') as file:
        np.testing.assert_array_equal(file.read(1), layers.elevation.values)
        assert tuple(file.transform)[:6] == AFFINE
        assert file.crs.to_epsg() == 32632
    for number, facies in enumerate(layers.facies.values):
        with rasterio.open(f'ZARR:"{path}":/facies:{number}') as file:
            np.testing.assert_array_equal(file.read(1), facies)


def test_a_gdal_without_shards_says_so(tmp_path, layers):
    if gdal_version() >= SHARDS_SINCE:
        pytest.skip(f"GDAL {rasterio.__gdal_version__} reads shards of Zarr 3")
    write(layers, tmp_path / "layers.zarr")
    # nobody is given wrong values in silence; `export` is the way for such programs
    path = f'ZARR:"{tmp_path / "layers.zarr"}":/elevation'
    with pytest.raises(RasterioIOError, match="Unsupported codec"):
        rasterio.open(path)


def test_gdalinfo_reads_the_store(tmp_path, layers):
    if shutil.which("gdalinfo") is None:
        pytest.skip("gdalinfo is not installed")
    version = subprocess.run(["gdalinfo", "--version"], capture_output=True, text=True).stdout
    numbers = tuple(int(part) for part in version.split()[1].rstrip(",").split(".")[:2])
    if numbers < SHARDS_SINCE:
        pytest.skip(f"{version.strip()} does not read shards of Zarr 3")
    path = tmp_path / "layers.zarr"
    write(layers, path)
    command = ["gdalinfo", "-json", f'ZARR:"{path}":/elevation']
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert found["size"] == [70, 90]
    assert found["geoTransform"] == [600_000, 10, 0, 5_000_000, 0, -10]


# what GIS users open


def test_exported_rasters_hold_codes_colours_and_nodata(path, layers, tmp_path):
    files = {file.name: file for file in export(read(path), tmp_path)}
    names = [f"{name}_{day}.tif" for name in ("facies", "extent", "confidence")
             for day in ("2021-08-01", "2022-08-05", "2023-08-03")]  # fmt: skip
    assert sorted(files) == sorted(names)
    for task in ("facies", "extent"):
        for number, day in enumerate(("2021-08-01", "2022-08-05", "2023-08-03")):
            with rasterio.open(files[f"{task}_{day}.tif"]) as file:
                assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert file.crs.to_epsg() == 32632
                assert tuple(file.transform)[:6] == AFFINE
                assert file.nodata == 255
                np.testing.assert_array_equal(file.read(1), layers[task].values[number])
                table = file.colormap(1)
                assert {code: table[code] for code in colours(task)} == colours(task)
    with rasterio.open(files["confidence_2021-08-01.tif"]) as file:
        values = file.read(1, masked=True) * file.scales[0] + file.offsets[0]
        np.testing.assert_allclose(values, layers.confidence.values[0], rtol=0, atol=0.002 + 1e-6)


def test_exported_levels_open_too(tmp_path, layers):
    from_levels = tmp_path / "layers.zarr"
    with_levels(layers, from_levels)
    found = xr.open_zarr(from_levels, group="overviews/2", decode_coords="all").sortby("time")
    (file,) = export(found.isel(time=[0]), tmp_path / "cogs", variables=["facies"])
    with rasterio.open(file) as raster:
        assert raster.shape == (45, 35)
        assert raster.res == (20, 20)
        np.testing.assert_array_equal(raster.read(1), found.facies.values[0])
