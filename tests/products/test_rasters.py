"""Layers as GeoTIFFs that any GIS opens right."""

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
from odc.geo.geobox import GeoBox

from glaciercube import grid, schema
from glaciercube.errors import SchemaError, StoreError
from glaciercube.products import rasters
from glaciercube.products.rasters import export

ROWS, COLUMNS = 1300, 1100


@pytest.fixture
def box():
    bounds = (600_000, 5_000_000, 600_000 + 10 * COLUMNS, 5_000_000 + 10 * ROWS)
    return GeoBox.from_bbox(bounds, "EPSG:32632", resolution=10)


@pytest.fixture
def layers(box):
    return make_layers(box)


def make_layers(box, dates=("2021-08-01", "2022-08-05")):
    generator = np.random.default_rng(0)
    shape = (len(dates), *box.shape)
    facies = np.repeat(np.repeat(generator.integers(0, 9, (len(dates), 130, 110)), 10, 1), 10, 2)
    facies = facies.astype(np.uint8)
    confidence = generator.random(shape, np.float32)
    facies[:, :200], confidence[:, :200] = schema.NODATA, np.nan
    dims = ("time", "y", "x")
    dataset = xr.Dataset(
        {
            "facies": (dims, facies, schema.flag_attrs("facies")),
            "extent": (dims, np.where(facies == 255, 255, facies % 2).astype(np.uint8)),
            "confidence": (dims, confidence, {"units": "1", "long_name": "probability"}),
            "probability": (
                ("time", "category", "y", "x"),
                np.stack([confidence, 1 - confidence], axis=1),
                {"units": "1"},
            ),
            "elevation": (("y", "x"), np.full(box.shape, 2500.5, np.float32), {"units": "m"}),
            "valid": (dims, facies != 255, {"units": "1"}),
        },
        coords={"time": pd.to_datetime(list(dates)).as_unit("ns"), "category": ["ice", "snow"]},
    )
    dataset["extent"].attrs = schema.flag_attrs("extent")
    return grid.georeferenced(dataset, box).chunk(time=1, category=-1, y=512, x=512)


def test_there_is_one_file_per_layer_and_date(layers, tmp_path):
    found = export(layers, tmp_path / "out")
    assert sorted(path.name for path in found) == sorted(
        f"{name}_{date}.tif"
        for name in ("facies", "extent", "confidence", "probability")
        for date in ("2021-08-01", "2022-08-05")
    )
    left = {path.name for path in (tmp_path / "out").iterdir()} - {path.name for path in found}
    assert all(name.endswith(".tif.aux.xml") for name in left)
    assert len(left) == 4


def test_codes_grid_colours_and_nodata_are_right(layers, box, tmp_path):
    export(layers, tmp_path, variables=["facies"])
    with rasterio.open(tmp_path / "facies_2022-08-05.tif") as file:
        np.testing.assert_array_equal(file.read(1), layers.facies[1].values)
        assert file.crs.to_epsg() == 32632
        assert file.transform == box.affine
        assert file.nodata == 255
        assert file.dtypes == ("uint8",)
        table = file.colormap(1)
        for category in schema.FACIES:
            assert bytes(table[category.code][:3]).hex() == category.colour[1:]
            assert file.tags(1)[f"category_{category.code}"] == category.name
        assert table[255][3] == 0
        assert file.colorinterp[0].name == "palette"
        assert file.tags()["TIFFTAG_DATETIME"] == "2022:08:05 00:00:00"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.read_masks(1)[0, 0] == 0


def test_gdal_knows_the_names_of_the_categories(layers, tmp_path):
    export(layers.isel(time=[0]), tmp_path, variables=["facies"])
    described = tmp_path / "described.vrt"
    rasterio.shutil.copy(tmp_path / "facies_2021-08-01.tif", described, driver="VRT")
    for category in schema.FACIES:
        assert f"<Category>{category.name}</Category>" in described.read_text()


def test_overviews_of_classes_are_the_most_frequent_class(layers, tmp_path):
    codes = np.ones(layers.facies.shape, np.uint8)
    codes[:, ::2, ::2] = 3  # one of four: the nearest would take it, an average make a 2 of it
    layers["facies"] = layers.facies.copy(data=codes)
    export(layers.isel(time=[0]), tmp_path, variables=["facies"])
    path = tmp_path / "facies_2021-08-01.tif"
    with rasterio.open(path) as file:
        assert file.overviews(1) == [2, 4]
    with rasterio.open(path, overview_level=0) as small:
        assert (small.read(1) == 1).all()


def test_confidence_is_scaled_and_averaged(layers, tmp_path):
    export(layers.isel(time=[0]), tmp_path, variables=["confidence"])
    path = tmp_path / "confidence_2021-08-01.tif"
    with rasterio.open(path) as file:
        codes = file.read(1, masked=True)
        assert file.scales == (0.004,)
        assert file.offsets == (0.0,)
        assert file.nodata == 255
        values = codes.filled(0) * file.scales[0]
        expected = layers.confidence[0].values
        np.testing.assert_array_equal(codes.mask, np.isnan(expected))
        # steps of 0.004
        assert np.abs(values - np.nan_to_num(expected)).max() <= 0.002 + 1e-6
    with rasterio.open(path, overview_level=0) as small:
        mean = codes.data[200:].reshape(550, 2, 550, 2).mean((1, 3))
        # GDAL rounds the average
        assert np.abs(small.read(1)[100:] - mean).max() <= 0.51


def test_bands_carry_the_names_of_the_categories(layers, tmp_path):
    export(layers.isel(time=[0]), tmp_path, variables=["probability"])
    with rasterio.open(tmp_path / "probability_2021-08-01.tif") as file:
        assert file.descriptions == ("ice", "snow")
        assert file.scales == (0.004, 0.004)
        second = file.read(2, masked=True) * 0.004
        assert abs(second.mean() - float(layers.probability[0, 1].mean())) < 1e-3


def test_what_has_no_time_and_masks_can_be_exported_by_name(layers, tmp_path):
    found = export(layers.isel(time=[0]), tmp_path, variables=["elevation", "valid"])
    assert [path.name for path in found] == ["elevation.tif", "valid_2021-08-01.tif"]
    with rasterio.open(found[0]) as file:
        assert (file.read(1) == np.float32(2500.5)).all()
        assert np.isnan(file.nodata)
        assert file.units == ("m",)
    with rasterio.open(found[1]) as file:
        np.testing.assert_array_equal(file.read(1), layers.valid[0].values)
        assert file.nodata is None


def test_two_scenes_of_a_day_do_not_share_a_file(box, tmp_path):
    times = ("2021-08-01 10:10:31", "2021-08-01 10:20:21")
    found = export(make_layers(box, times), tmp_path, variables=["extent"])
    assert [path.name for path in found] == [
        "extent_2021-08-01T101031.tif",
        "extent_2021-08-01T102021.tif",
    ]


def test_variables_that_share_a_task_compute_it_once(layers, tmp_path):
    calls = []

    def network(values):
        calls.append(values.shape)
        return values

    data = layers.confidence.data
    shared = da.map_blocks(network, data, dtype=data.dtype, meta=np.empty((0, 0, 0), np.float32))
    both = layers.assign(
        confidence=layers.confidence.copy(data=shared),
        extent=layers.extent.copy(data=(shared > 0.5).astype(np.uint8)),
    )
    with dask.config.set(scheduler="synchronous"):
        export(both, tmp_path, variables=["confidence", "extent"])
    assert len(calls) == 2 * 3 * 3


def test_only_a_few_blocks_are_computed_together(layers, tmp_path, monkeypatch):
    seen = []
    real = rasters.dask.compute

    def compute(blocks):
        seen.append(len(blocks[0]))
        return real(blocks)

    monkeypatch.setattr(rasters.dask, "compute", compute)
    monkeypatch.setattr(rasters, "AT_ONCE", 4)
    export(layers.isel(time=[0]), tmp_path, variables=["facies"])
    assert seen == [4, 4, 1]


def test_in_memory_and_lazy_layers_give_the_same(layers, tmp_path):
    one = layers.isel(time=[0])[["facies", "probability"]]
    for number, dataset in enumerate((one, one.compute())):
        export(dataset, tmp_path / str(number))
    for name in ("facies_2021-08-01.tif", "probability_2021-08-01.tif"):
        with rasterio.open(tmp_path / "0" / name) as a, rasterio.open(tmp_path / "1" / name) as b:
            np.testing.assert_array_equal(a.read(), b.read())


def test_a_south_up_grid_is_turned(layers, box, tmp_path):
    turned = layers.isel(time=[0], y=slice(None, None, -1))
    (path,) = export(turned, tmp_path, variables=["facies"])
    with rasterio.open(path) as file:
        assert file.transform == box.affine
        np.testing.assert_array_equal(file.read(1), layers.facies[0].values)


def test_existing_files_are_replaced_with_their_names(layers, tmp_path):
    (tmp_path / "facies_2021-08-01.tif").write_text("old")
    (tmp_path / "confidence_2021-08-01.tif.aux.xml").write_text("old")
    export(layers.isel(time=[0]), tmp_path, variables=["facies", "confidence"])
    with rasterio.open(tmp_path / "facies_2021-08-01.tif") as file:
        assert file.count == 1
    assert not (tmp_path / "confidence_2021-08-01.tif.aux.xml").exists()


def test_a_failure_leaves_the_old_file(layers, tmp_path):
    def fail(values):
        raise RuntimeError("no weights")

    export(layers.isel(time=[0]), tmp_path, variables=["facies"])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    data = layers.facies.data
    broken = data.map_blocks(fail, dtype=data.dtype, meta=np.empty((0, 0, 0), np.uint8))
    with pytest.raises(RuntimeError, match="no weights"):
        export(layers.assign(facies=layers.facies.copy(data=broken)), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_layers_that_are_not_there_are_said(layers, cube, tmp_path):
    with pytest.raises(
        SchemaError, match=r"there are no layers \['slope'\] to export; there are \["
    ):
        export(layers, tmp_path, variables=["facies", "slope"])
    with pytest.raises(
        SchemaError, match=r"export needs one of \['confidence', .* name others with"
    ):
        export(cube, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_named(layers, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"'.*file/out' cannot be written"):
        export(layers, tmp_path / "file" / "out")


def test_a_full_disk_names_the_directory(layers, tmp_path, monkeypatch):
    def full(*given, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rasters.rasterio.shutil, "copy", full)
    with pytest.raises(StoreError, match=r"cannot be written: .*No space left"):
        export(layers.isel(time=[0]), tmp_path, variables=["facies"])
    assert list(tmp_path.iterdir()) == []


def test_reflectance_can_be_exported_with_scale_and_offset(cube, tmp_path):
    (first, *_) = export(cube, tmp_path, variables=["reflectance"])
    with rasterio.open(first) as file:
        assert file.descriptions == tuple(cube.band.values)
        assert (file.scales[0], file.offsets[0], file.nodata) == (1e-4, -0.1, 0)
        values = file.read(masked=True) * file.scales[0] + file.offsets[0]
    expected = cube.reflectance[0].values
    np.testing.assert_array_equal(values.mask, np.isnan(expected))
    # steps of 1e-4
    assert np.abs(values.filled(0) - np.nan_to_num(expected)).max() <= 0.5e-4 + 1e-6
