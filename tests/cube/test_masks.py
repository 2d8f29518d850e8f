"""Clear pixels by policy."""

import dask
import numpy as np
import pytest

from glaciercube.cube.masks import POLICIES, clear
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
        SchemaError, match=r"one of \['provider', 'keep-snow', 'measured'\], found 'all'"
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
