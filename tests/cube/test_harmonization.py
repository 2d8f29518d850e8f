"""Reflectance of one sensor as another would see it."""

import json

import dask
import numpy as np
import pytest
import xarray as xr

from glaciercube.cube.coefficients import FENG, ROY_RMA
from glaciercube.cube.harmonization import harmonize
from glaciercube.errors import SchemaError, SensorError

SIX = ["blue", "green", "red", "nir08", "swir16", "swir22"]


@pytest.fixture
def landsat(cube):
    """Return a cube of Landsat 7, 8 and 9, one date each."""
    out = cube.sel(band=SIX).assign_coords(
        platform=("time", ["landsat-7", "landsat-8", "landsat-9"])
    )
    out.attrs["sensor"] = "landsat-c2-l2"
    return out


def test_dates_of_the_target_stay_and_the_others_get_their_line(landsat):
    out = harmonize(landsat, to="oli", coefficients="roy-2016-rma")
    xr.testing.assert_equal(out["reflectance"][1:], landsat["reflectance"][1:])
    for line in ROY_RMA.fits[0].lines:
        np.testing.assert_allclose(
            out["reflectance"][0].sel(band=line.band),
            landsat["reflectance"][0].sel(band=line.band) * line.slope + line.intercept,
            rtol=1e-5,
            atol=1e-6,
        )
    assert out["reflectance"].dtype == np.float32
    assert out["reflectance"].dims == landsat["reflectance"].dims
    assert out["reflectance"].attrs["units"] == "1"
    assert out["reflectance"].attrs["harmonized_to"] == "oli"
    assert out["reflectance"].encoding == landsat["reflectance"].encoding
    record = json.loads(out.attrs["harmonization"])
    assert record["coefficients"] == "roy-2016-rma"
    assert record["source"].startswith("Roy et al. 2016")
    assert "harmonization" not in landsat.attrs
    xr.testing.assert_identical(out["valid"], landsat["valid"])


def test_gaps_stay_gaps_and_nothing_is_clipped(landsat):
    landsat["reflectance"][0, :, ::7] = np.nan  # as the gaps of a broken scan line corrector
    landsat["reflectance"][0, :, 50, 50] = 1.8
    landsat["reflectance"][0, :, 51, 50] = -0.05
    out = harmonize(landsat, to="oli", coefficients="feng-2023-greenland")["reflectance"]
    np.testing.assert_array_equal(np.isnan(out), np.isnan(landsat["reflectance"]))
    assert (out[0, :, 50, 50] > 1.7).all()
    assert (out[0, :, 51, 50] < 0).all()


def test_lazy_the_same_in_any_chunks_with_names_that_follow(landsat, no_compute):
    whole = harmonize(landsat, to="oli", coefficients="roy-2016-rma")["reflectance"]
    for chunks in ({"time": 1, "y": 32, "x": 40}, {"time": 2, "band": 1, "y": 50}):
        chunked = landsat.chunk(chunks).assign_coords(platform=landsat["platform"])
        with no_compute:
            lazy = harmonize(chunked, to="oli", coefficients="roy-2016-rma")
        assert dask.is_dask_collection(lazy["reflectance"].data)
        assert lazy["reflectance"].dtype == np.float32
        np.testing.assert_array_equal(lazy["reflectance"], whole)
    names = [
        harmonize(landsat.chunk(time=1), to="oli", coefficients=one)["reflectance"].data.name
        for one in ("roy-2016-rma", "roy-2016-rma", "roy-2016-ols")
    ]
    assert names[0] == names[1] != names[2]


def test_sentinel_2_needs_the_satellite_where_it_matters(cube):
    bands = [*SIX[:3], "nir08", *SIX[4:]]
    with pytest.raises(
        SensorError, match=r"satellite not known.*say which satellite with platform="
    ):
        harmonize(cube, to="oli", coefficients="hls", bands=bands)
    first = harmonize(cube, to="oli", coefficients="hls", bands=bands, platform="sentinel-2a")
    assert first["band"].values.tolist() == bands
    second = harmonize(cube, to="oli", coefficients="hls", bands=bands, platform="Sentinel-2B")
    assert (
        first["reflectance"].sel(band="swir22") != second["reflectance"].sel(band="swir22")
    ).any()
    known = cube.assign_coords(platform=("time", ["sentinel-2a"] * 3))
    np.testing.assert_array_equal(
        harmonize(known, to="oli", coefficients="hls", bands=bands)["reflectance"],
        first["reflectance"],
    )
    with pytest.raises(SensorError, match=r"no lines from msi \(sentinel-2c\) to oli, it has .*2a"):
        harmonize(cube, to="oli", coefficients="hls", bands=bands, platform="sentinel-2c")
    both = cube.assign_coords(platform=("time", ["sentinel-2a, sentinel-2b"] * 3))
    with pytest.raises(SensorError, match=r"different lines for \['sentinel-2a', 'sentinel-2b'\]"):
        harmonize(both, to="oli", coefficients="hls", bands=bands)


def test_there_and_back_again(cube):
    bands = ["blue", "green", "red", "nir", "swir16", "swir22"]
    oli = harmonize(cube, to="oli", coefficients=FENG.name, bands=bands)
    oli = oli.assign_coords(band=["nir08" if one == "nir" else one for one in bands])
    oli.attrs |= {"sensor": "landsat-oli-c2-l2"}
    del oli.attrs["harmonization"]
    back = harmonize(oli, to="msi", coefficients=FENG.name)
    np.testing.assert_allclose(
        back["reflectance"], cube["reflectance"].sel(band=bands), rtol=1e-5, atol=1e-6
    )


def test_a_cube_of_the_target_is_unchanged(cube):
    out = harmonize(cube, to="msi", coefficients="feng-2023-greenland")
    xr.testing.assert_equal(out["reflectance"], cube["reflectance"])


def test_what_the_docstring_says_of_bright_snow(landsat):
    snow = landsat.copy(deep=True)
    snow["reflectance"][:] = np.float32(0.9)
    found = {
        name: float(harmonize(snow, to="oli", coefficients=name)["reflectance"][0, 2, 50, 50])
        for name in ("roy-2016-ols", "roy-2016-rma", "feng-2023-greenland")
    }
    assert {name: round(value, 2) for name, value in found.items()} == {
        "roy-2016-ols": 0.82, "roy-2016-rma": 0.88, "feng-2023-greenland": 0.96,
    }  # fmt: skip


def test_tm_on_request_only(landsat):
    old = landsat.assign_coords(platform=("time", ["LANDSAT_5", "landsat-7", "landsat-8"]))
    with pytest.raises(SensorError, match=r"no lines from tm \(landsat-5\).*tm_as_etm=True"):
        harmonize(old, to="oli", coefficients="roy-2016-rma")
    out = harmonize(old, to="oli", coefficients="roy-2016-rma", tm_as_etm=True)
    assert (out["reflectance"][0] != old["reflectance"][0]).any()
    assert json.loads(out.attrs["harmonization"])["tm_as_etm"] is True
    alone = old.drop_vars("platform")
    alone.attrs["sensor"] = "landsat-tm-c2-l2"
    with pytest.raises(SensorError, match=r"no lines from tm \(satellite not known\)"):
        harmonize(alone, to="oli", coefficients="roy-2016-rma")


def test_what_cannot_be_harmonised_is_refused(cube, landsat):
    with pytest.raises(SensorError, match=r"one of \['hls', .*found 'mine'"):
        harmonize(cube, to="oli", coefficients="mine")
    with pytest.raises(SensorError, match="to 'oli' or 'msi', found 'etm'"):
        harmonize(cube, to="etm", coefficients="hls")
    with pytest.raises(
        SchemaError,
        match=r"chastain-2019 holds for top-of-atmosphere reflectance, the cube is 'surface'; "
        r"for this level there are \['hls', 'roy",
    ):
        harmonize(landsat, to="oli", coefficients="chastain-2019")
    done = harmonize(landsat, to="oli", coefficients="roy-2016-rma")
    with pytest.raises(SensorError, match="harmonised already"):
        harmonize(done, to="oli", coefficients="roy-2016-rma")
    with pytest.raises(SensorError, match=r"harmonised already \(hls-s30\)"):
        harmonize(cube.assign_attrs(sensor="hls-s30"), to="oli", coefficients="hls")
    with pytest.raises(SensorError, match="the cube's sensor is 'landsat-c2-l2' and it has no"):
        harmonize(landsat.drop_vars("platform"), to="oli", coefficients="roy-2016-rma")
    with pytest.raises(SensorError, match=r"knows the satellites .*found 'spot-5'"):
        harmonize(cube, to="oli", coefficients="hls", platform="spot-5")
    with pytest.raises(SchemaError, match="'reflectance' is missing"):
        harmonize(cube.drop_vars("reflectance"), to="oli", coefficients="hls")


def test_bands_without_a_line_are_named(cube):
    with pytest.raises(
        SchemaError,
        match=r"hls has no line for \['nir', 'rededge071', .*bands=\['blue', 'green', 'red', 'nir0",
    ):
        harmonize(cube, to="oli", coefficients="hls", platform="sentinel-2a")
    with pytest.raises(SchemaError, match=r"keeps bands of \['blue'.*found \['purple'\]"):
        harmonize(cube, to="oli", coefficients="hls", platform="sentinel-2a", bands=["purple"])
