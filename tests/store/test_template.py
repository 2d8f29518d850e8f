"""The empty store: everything in place for any reader, and nothing half made."""

import json

import numpy as np
import pytest
import rioxarray  # noqa: F401  registers .rio
import xarray as xr
from odc.geo.geobox import GeoBox

from glaciercube import grid, schema
from glaciercube.errors import StoreError
from glaciercube.store import template
from glaciercube.store.places import Directory
from glaciercube.store.planning import plan_of


def make_layers(geobox, lazy_cube):
    """Return a dataset with a variable of every kind."""
    extent = lazy_cube.valid.astype("uint8").assign_attrs(schema.flag_attrs("extent"))
    share = lazy_cube.valid.astype("float32").assign_attrs(units="1")
    probability = share.expand_dims(category=["ice", "snow"], axis=1)
    count = lazy_cube.valid.astype("int16").assign_attrs(units="1")
    return grid.georeferenced(
        lazy_cube.assign(
            extent=extent, confidence=share, probability=probability.chunk(category=-1), count=count
        ),
        geobox,
    )


@pytest.fixture
def store(tmp_path, geobox, lazy_cube):
    path = tmp_path / "store.zarr"
    template.create(plan_of(make_layers(geobox, lazy_cube)), Directory(path))
    return path


def test_every_variable_is_georeferenced_for_plain_xarray(store, geobox):
    plain = xr.open_zarr(store, decode_coords="all")
    assert set(plain.data_vars) > {"reflectance", "valid", "elevation", "extent", "probability"}
    for name, variable in plain.data_vars.items():
        assert variable.encoding["grid_mapping"] == "spatial_ref", name
        assert variable.rio.crs.to_epsg() == 32632, name
        assert variable.rio.transform() == geobox.affine, name
        assert variable.odc.geobox == geobox, name


def test_every_variable_carries_the_geozarr_conventions(store, geobox):
    group = json.loads((store / "zarr.json").read_text())
    plain = xr.open_zarr(store, decode_coords="all")
    members = [json.loads((store / name / "zarr.json").read_text()) for name in plain.data_vars]
    for attrs in (group["attributes"], *(member["attributes"] for member in members)):
        assert attrs["spatial:dimensions"] == ["y", "x"]
        assert attrs["spatial:transform"] == [10.0, 0.0, 600000.0, 0.0, -10.0, 5000960.0]
        assert attrs["spatial:bbox"] == [600000.0, 5000000.0, 600800.0, 5000960.0]
        assert attrs["spatial:shape"] == [96, 80]
        assert attrs["spatial:registration"] == "pixel"
        assert attrs["proj:code"] == "EPSG:32632"
        assert [c["uuid"][:8] for c in attrs["zarr_conventions"]] == ["689b58e2", "f17cb550"]
        assert [c["name"] for c in attrs["zarr_conventions"]] == ["spatial:", "proj:"]


def test_a_crs_without_code_is_stated_as_wkt():
    crs = "+proj=laea +lat_0=46 +lon_0=8 +datum=WGS84 +units=m"
    attrs = template.geozarr_attrs(GeoBox.from_bbox((0, 0, 100, 100), crs, resolution=10))
    assert "proj:code" not in attrs
    assert attrs["proj:wkt2"].startswith("PROJCRS")


def test_a_grid_without_crs_has_no_conventions(geobox):
    with pytest.raises(ValueError, match="a grid without a coordinate reference system"):
        template.geozarr_attrs(GeoBox(geobox.shape, geobox.affine, None))


def test_arrays_are_sharded_and_packed_as_the_schema_says(store):
    def member(name):
        return json.loads((store / name / "zarr.json").read_text())

    reflectance = member("reflectance")
    assert reflectance["zarr_format"] == 3
    assert reflectance["data_type"] == "uint16"
    assert reflectance["chunk_grid"]["configuration"]["chunk_shape"] == [1, 10, 32, 40]
    shard = reflectance["codecs"][0]
    assert shard["name"] == "sharding_indexed"
    blosc = shard["configuration"]["codecs"][1]["configuration"]
    assert (blosc["cname"], blosc["shuffle"]) == ("lz4", "bitshuffle")
    assert {key: reflectance["attributes"][key] for key in ("scale_factor", "add_offset")} == {
        "scale_factor": 1e-4,
        "add_offset": -0.1,
    }
    assert (reflectance["fill_value"], reflectance["attributes"]["_FillValue"]) == (0, 0)
    assert (member("extent")["fill_value"], member("extent")["data_type"]) == (255, "uint8")
    assert "_FillValue" not in member("extent")["attributes"]
    assert (member("confidence")["fill_value"], member("valid")["data_type"]) == (255, "bool")
    assert member("elevation")["fill_value"] == "NaN"
    assert "_FillValue" not in member("count")["attributes"]


def test_an_empty_store_reads_as_no_value(store):
    plain = xr.open_zarr(store, decode_coords="all")
    assert plain.reflectance.isnull().all()
    assert plain.confidence.isnull().all()
    assert plain.elevation.isnull().all()
    assert not plain.valid.any()
    assert (plain.extent == schema.NODATA).all()
    assert plain.extent.dtype == np.uint8
    assert plain.valid.dtype == bool
    assert plain.category.values.tolist() == ["ice", "snow"]


def test_a_crash_leaves_nothing(tmp_path, lazy_cube, monkeypatch):
    def crash(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(template.ledger, "write_header", crash)
    with pytest.raises(KeyboardInterrupt):
        template.create(plan_of(lazy_cube), Directory(tmp_path / "store.zarr"))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made_is_named(tmp_path, lazy_cube):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"the store '.*file/store.zarr' cannot be created"):
        template.create(plan_of(lazy_cube), Directory(tmp_path / "file" / "store.zarr"))


def test_a_store_made_meanwhile_is_not_touched(store, lazy_cube, monkeypatch):
    before = (store / "zarr.json").read_bytes()
    monkeypatch.setattr(Directory, "exists", lambda place: False)
    template.create(plan_of(lazy_cube), Directory(store))
    assert (store / "zarr.json").read_bytes() == before


def test_making_again_what_is_made_changes_nothing(store, geobox, lazy_cube):
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    template.create(plan_of(make_layers(geobox, lazy_cube)), Directory(store))
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


def test_a_growing_store_has_no_dates_yet(tmp_path, lazy_cube):
    lazy_cube = lazy_cube.assign_attrs(provenance="[]")
    template.create(plan_of(lazy_cube), Directory(tmp_path / "s.zarr"), growing=True)
    plain = xr.open_zarr(tmp_path / "s.zarr", decode_coords="all")
    assert (plain.sizes["time"], plain.sizes["y"]) == (0, 96)
    assert "provenance" not in plain.attrs


def test_time_is_exact_and_has_room(store):
    time = json.loads((store / "time" / "zarr.json").read_text())
    assert time["attributes"]["units"] == "nanoseconds since 1970-01-01"
    assert (time["data_type"], time["shape"]) == ("int64", [3])
    assert time["chunk_grid"]["configuration"]["chunk_shape"] == [512]
