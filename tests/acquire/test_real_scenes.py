"""Real scenes by their profiles: values must be those of snow, ice, rock and water."""

import numpy as np

from glaciercube.acquire.files import from_files
from glaciercube.indices import normalized_difference

KHUMBU = {"2024-01-15": "s2_winter_2024.tif", "2024-10-15": "s2_autumn_2024.tif"}


def quantiles(cube, band, percents):
    """Return percentiles of a band over all dates."""
    return np.nanpercentile(cube["reflectance"].sel(band=band), percents)


def test_khumbu_in_degrees_is_taken_as_it_is(real_data):
    folder = real_data("khumbu-s2")
    paths = [folder / name for name in KHUMBU.values()]
    cube = from_files(paths, "sentinel-2-l2a", dates=list(KHUMBU)).compute()
    assert cube.sizes == {"time": 2, "band": 6, "y": 256, "x": 256}
    assert cube["valid"].all()
    for band in ("blue", "green", "red", "nir"):
        low, median, high = quantiles(cube, band, (1, 50, 99))
        assert -0.01 < low < 0.1
        assert 0.1 < median < 0.35, "debris and rock"
        assert 0.7 < high < 1.2, "sunlit snow"
    assert float(cube["reflectance"].max()) > 1.5, "snow facing the sun is not clipped"
    snow = cube["reflectance"].sel(band="green") > 0.7
    bands = (cube["reflectance"].sel(band=b).values[snow.values] for b in ("green", "swir16"))
    assert np.nanmedian(normalized_difference(*bands)) > 0.5, "bright pixels are snow, not cloud"


def test_five_summers_of_vinciguerra_share_a_floor_once_their_offsets_are_settled(real_data):
    paths = sorted(real_data("vinciguerra-s2").glob("vinciguerra_s2_l1c_*.tif"))
    cube = from_files(paths, "sentinel-2-l1c", check="trust-pixels").compute()
    assert cube.sizes["time"] == 5
    assert 0.97 < float(cube["valid"].mean()) < 0.99, "zeros at the edge are not measured"
    for place in range(5):
        year = cube.isel(time=[place])
        floor, dark = quantiles(year, "swir22", (0, 1))
        assert 0 < floor < 0.012, "a forgotten offset would lift it to 0.1"
        assert dark < 0.015
        assert 0.05 < quantiles(year, "blue", (1,))[0] < 0.09, "Rayleigh scattering"
        assert 0.6 < quantiles(year, "blue", (100,))[0] < 1.0
