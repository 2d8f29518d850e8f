"""Clear pixels by policy and by layer."""

import json

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr

from glaciercube.cube import masks
from glaciercube.cube.masks import POLICIES, RULES, clear
from glaciercube.errors import SchemaError


@pytest.fixture
def snowy(cube):
    """Return a cube whose first date is cloud by the provider: half snow, half real cloud."""
    out = cube.copy(deep=True)
    out["cloud"][0] = True
    for name, snow, cloud in (("green", 0.9, 0.7), ("nir", 0.8, 0.7), ("swir16", 0.08, 0.6)):
        out["reflectance"].loc[{"band": name, "time": out["time"][0]}] = np.float32(cloud)
        out["reflectance"].loc[{"band": name, "time": out["time"][0]}][:, :40] = np.float32(snow)
    out["cloud_shadow"] = out["cloud"].copy(data=np.zeros(out["cloud"].shape, bool))
    out["cloud_shadow"][1, :, :10] = True
    return out


def test_the_providers_clouds_and_shadows_are_not_clear(snowy):
    out = clear(snowy)
    expected = snowy["valid"].values & ~snowy["cloud"].values & ~snowy["cloud_shadow"].values
    np.testing.assert_array_equal(out, expected)
    assert not out[0].any()
    assert out.dtype == bool
    assert out.dims == ("time", "y", "x")
    assert out.attrs["policy"] == "provider"
    assert out.encoding["grid_mapping"] == "spatial_ref"


def test_snow_that_was_called_cloud_is_given_back(snowy):
    out = clear(snowy, "keep-snow")
    assert out[0, 20:, :40].all()
    assert not out[0, :, 40:].any()
    assert not out[1, :, :10].any()
    assert not (out & ~snowy["valid"]).any()


def test_measured_asks_nobody(snowy):
    np.testing.assert_array_equal(clear(snowy, "measured"), snowy["valid"])
    np.testing.assert_array_equal(clear(snowy[["valid"]], "measured"), snowy["valid"])


def test_a_provider_without_shadows_keeps_them(snowy):
    out = clear(snowy.drop_vars("cloud_shadow"))
    assert out[1, 20:, :10].all()


@pytest.mark.parametrize("policy", list(POLICIES))
def test_lazy_as_the_cube_and_the_same(snowy, policy, no_compute):
    with no_compute:
        lazy = clear(snowy.chunk(time=1, band=-1, y=32, x=40), policy)
    assert dask.is_dask_collection(lazy.data)
    np.testing.assert_array_equal(lazy, clear(snowy, policy))


@pytest.mark.parametrize("policy", list(POLICIES))
def test_names_follow_from_what_they_hold(snowy, policy):
    cube = snowy.chunk(time=1, band=-1, y=32, x=40)
    assert clear(cube, policy).data.name == clear(cube, policy).data.name


def test_an_unknown_policy_lists_them(cube):
    with pytest.raises(
        SchemaError, match=r"one of \['provider', 'keep-snow', 'swir', 'measured'\], found 'all'"
    ):
        clear(cube, "all")


def test_what_a_policy_needs_is_listed(cube):
    with pytest.raises(SchemaError, match=r"clear with policy 'provider'.*\n.*'cloud' is missing"):
        clear(cube.drop_vars("cloud"))
    with pytest.raises(SchemaError, match="'reflectance' is missing"):
        clear(cube.drop_vars("reflectance"), "keep-snow")
    poor = cube.isel(band=[0, 1])
    with pytest.raises(SchemaError, match=r"the cube lacks \['nir', 'swir16'\]; load them"):
        clear(poor, "keep-snow")


@pytest.fixture
def saturated(snowy):
    """Return a cube with saturated pixels on its third date: snow by colours, snow by the
    provider, and neither.
    """
    out = snowy.copy(deep=True)
    none = np.zeros(out["cloud"].shape, bool)
    for name in ("saturated", "snow", "water"):
        out[name] = out["cloud"].copy(data=none.copy())
    out["saturated"][2, 40:, :60] = True
    out["snow"][2, 40:, 20:40] = True
    out["water"][2, 90:] = True
    for name, snow, ground in (("green", 0.9, 0.9), ("nir", 0.8, 0.9), ("swir16", 0.05, 0.8)):
        at = {"band": name, "time": out["time"][2]}
        out["reflectance"].loc[at] = np.float32(ground)
        out["reflectance"].loc[at][:, :20] = np.float32(snow)
    return out


def test_saturated_snow_is_kept_and_other_saturated_pixels_are_not(saturated):
    out = clear(saturated)[2]
    assert out[40:, :40].all()
    assert not out[40:, 40:60].any()
    assert out[40:, 60:].all()
    np.testing.assert_array_equal(
        clear(saturated, saturated="drop")[2],
        saturated["valid"][2] & ~saturated["saturated"][2],
    )
    np.testing.assert_array_equal(clear(saturated, saturated="keep")[2], saturated["valid"][2])
    assert clear(saturated, "measured")[2, 40:].all()


def test_saturated_snow_is_told_by_the_provider_alone_where_bands_lack(saturated):
    out = clear(saturated.isel(band=[1, 2]))[2]
    assert not out[40:, :20].any()
    assert out[40:, 20:40].all()
    bare = saturated.isel(band=[1, 2]).drop_vars("snow")
    with pytest.raises(SchemaError, match="'snow' is missing"):
        clear(bare)
    assert clear(bare, saturated="keep")[2, 40:].all()


def test_a_rule_of_ones_own_changes_one_layer(saturated):
    np.testing.assert_array_equal(
        clear(saturated, cloud_shadow="keep"), clear(saturated.drop_vars("cloud_shadow"))
    )
    water = clear(saturated, "measured", water="drop")
    np.testing.assert_array_equal(water, saturated["valid"] & ~saturated["water"])
    snow = clear(saturated, "measured", snow="drop")
    np.testing.assert_array_equal(snow, saturated["valid"] & ~saturated["snow"])
    cloud = clear(saturated, "measured", cloud="keep-snow")
    np.testing.assert_array_equal(cloud[0], clear(saturated, "keep-snow")[0])


def test_the_attributes_say_what_was_done(saturated):
    out = clear(saturated, "provider", cloud="swir", water="drop")
    assert out.attrs["policy"] == "provider"
    assert json.loads(out.attrs["rules"]) == {
        "cloud": "swir", "cloud_shadow": "drop", "saturated": "keep-snow", "water": "drop",
    }  # fmt: skip
    assert "changed: cloud swir, water drop" in out.attrs["long_name"]
    plain = clear(saturated.drop_vars(["saturated", "cloud_shadow"]))
    assert json.loads(plain.attrs["rules"]) == {"cloud": "drop"}
    assert "cloud_source" not in plain.attrs
    saturated["cloud"].attrs["source"] = "detector 1"
    assert clear(saturated).attrs["cloud_source"] == "detector 1"


def test_the_short_wave_infrared_decides_over_snow_only(snowy):
    out = clear(snowy, "swir")
    assert out[0, 20:, :40].all()  # bright and dark in the short-wave infrared: snow
    assert not out[0, :, 40:].any()  # no snow by thresholds: the provider is believed
    missed = snowy.copy(deep=True)
    missed["cloud"][:] = False
    at = {"band": "swir16", "time": missed["time"][0]}
    missed["reflectance"].loc[at][:, :40] = np.float32(0.3)  # NDSI 0.5
    assert clear(missed)[0, 20:, :40].all()
    assert not clear(missed, "swir")[0, :, :40].any()


def test_landsats_near_infrared_serves_as_well(snowy):
    names = ["nir08" if name == "nir" else name for name in snowy["band"].values]
    keep = [name != "nir08" for name in snowy["band"].values]
    landsat = snowy.assign_coords(band=names).isel(band=np.flatnonzero(keep))
    np.testing.assert_array_equal(clear(landsat, "keep-snow"), clear(snowy, "keep-snow"))


def test_one_task_a_block_and_layers_may_be_chunked_differently(saturated, no_compute):
    cube = saturated.chunk(time=1, band=-1, y=32, x=40)
    cube["cloud"] = cube["cloud"].chunk(time=3, y=96, x=20)
    with no_compute:
        lazy = clear(cube, "swir")
    assert lazy.data.chunks == cube["valid"].data.chunks
    name = lazy.data.name
    assert sum(key[0] == name for key in lazy.data.dask if isinstance(key, tuple)) == 18
    np.testing.assert_array_equal(lazy, clear(saturated, "swir"))


def test_another_version_has_another_name(lazy_cube, monkeypatch):
    before = clear(lazy_cube).data.name
    monkeypatch.setattr(masks, "ALGORITHM_VERSION", masks.ALGORITHM_VERSION + 1)
    assert clear(lazy_cube).data.name != before
    assert clear(lazy_cube, "measured").data.name != clear(lazy_cube).data.name


def test_never_true_where_not_valid_whatever_the_rules(saturated):
    saturated["valid"][:, ::7, :] = False  # as the gaps of a broken scan line corrector
    for policy in POLICIES:
        assert not (clear(saturated, policy) & ~saturated["valid"]).any()
    kept = dict.fromkeys(RULES, "keep")
    np.testing.assert_array_equal(clear(saturated, **kept), saturated["valid"])


def test_a_wrong_rule_lists_the_right_ones(cube):
    with pytest.raises(SchemaError, match=r"cloud_shadow is one of \['drop', 'keep'\], not 'swir'"):
        clear(cube, cloud_shadow="swir")
    with pytest.raises(SchemaError, match="'water' is missing"):
        clear(cube, water="drop")
    with pytest.raises(SchemaError, match=r"lacks \['nir', 'swir16'\]"):
        clear(cube.isel(band=[0, 1]), cloud="swir")


@pytest.fixture
def greenland(real_data):
    """Return a Landsat 8 scene of the ice sheet, half of it under cloud, as a cube."""
    folder = real_data("landsat8-c2l2-greenland")
    scene = "LC08_L2SP_005009_20150710_20200908_02_T2"

    def layer(name):
        with rasterio.open(folder / f"{scene}_{name}.TIF") as source:
            return source.read(1)

    quality = layer("QA_PIXEL")
    numbers = np.stack([layer("SR_B3"), layer("SR_B5"), layer("SR_B6")])
    valid = (numbers > 0).all(axis=0) & (quality & 1 == 0)
    values = np.where(valid, numbers * np.float32(2.75e-5) - np.float32(0.2), np.float32(np.nan))
    dims = ("time", "y", "x")
    one = {"units": "1"}
    return xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), values[np.newaxis], dict(one)),
            "valid": (dims, valid[np.newaxis], dict(one)),
            "cloud": (dims, (quality & 0b1110 > 0)[np.newaxis] & valid, dict(one)),
            "cloud_shadow": (dims, (quality & 0b10000 > 0)[np.newaxis] & valid, dict(one)),
        },
        coords={"time": [np.datetime64("2015-07-10", "ns")], "band": ["green", "nir08", "swir16"]},
    )


def test_on_an_ice_sheet_swir_confirms_the_clouds_that_ndsi_takes_for_snow(greenland):
    """The clouds are real: structure and shadows show them in the image."""
    cloud = greenland["cloud"]
    assert 0.5 < cloud.sum() / greenland["valid"].sum() < 0.65
    kept = {name: clear(greenland, name, cloud_shadow="keep") for name in ("keep-snow", "swir")}
    back = {name: float((kept[name] & cloud).sum() / cloud.sum()) for name in kept}
    assert back["keep-snow"] > 0.7
    assert 0.001 < back["swir"] < 0.02
    found = float((greenland["valid"] & ~cloud & ~kept["swir"]).sum() / greenland["valid"].sum())
    assert 0.03 < found < 0.07
