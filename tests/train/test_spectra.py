"""Measured spectra: what is left out, what is assumed, and what is said when a file is missing."""

import numpy as np
import pandas as pd
import pytest

from glaciercube.errors import AcquireError
from glaciercube.indices import normalized_difference
from glaciercube.train import spectra

SWIR16 = spectra.BANDS.index("swir16")


@pytest.fixture
def data(real_data):
    real_data("greenland-field-spectra")
    return real_data("usgs-benchmark-spectra").parent


@pytest.fixture
def small(tmp_path):
    """Return a data folder with a few made-up rows in the layout of the real files."""
    generator = np.random.default_rng(0)
    rows = []
    for number, level in {1: 0.8, 2: 0.3, 3: 0.4, 4: 0.15, 5: 0.1}.items():
        for _ in range(6):
            values = level + generator.uniform(-0.02, 0.02, len(spectra.COLUMNS))
            if number != 4:
                values[-2:] = generator.uniform(0.01, 0.02, 2)
            rows.append(("Sperry", 20210630, number, *values))
    columns = ["site_name", "image_date", "class", *spectra.COLUMNS]
    for name in spectra.NEEDED:
        (tmp_path / name).parent.mkdir(exist_ok=True)
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / spectra.NEEDED[0], index=False)
    wave = np.arange(350, 2500)
    albedo = pd.DataFrame({"Wavelength": wave, "13_7_S4": 0.7, "24_7_S1": 0.3})
    albedo.loc[albedo["Wavelength"].between(1350, 1420), "24_7_S1"] = np.nan
    albedo.to_csv(tmp_path / spectra.NEEDED[1], index=False)
    centres = (492, 560, 665, 704, 741, 783, 833, 865, 1614, 2202)
    response = {"SR_WL": np.arange(300, 2600)}
    for name, centre in zip(spectra.COLUMNS, centres, strict=True):
        response[name] = (abs(response["SR_WL"] - centre) < 20).astype(float)
    pd.DataFrame(response).to_csv(tmp_path / spectra.NEEDED[2], index=False)
    return tmp_path


def test_materials_are_samples_of_ten_bands(small):
    found = spectra.materials(small)
    assert {"snow", "firn", "ice", "debris", "rock", "vegetation", "water"} <= set(found)
    for name, samples in found.items():
        assert samples.dtype == np.float32, name
        assert samples.shape[1] == 10, name
        assert np.isfinite(samples).all(), name


def test_a_band_is_the_mean_over_its_response(small):
    table = spectra.read_greenland(small).set_index("sample")
    assert table.loc["13_7_S4", "material"] == "snow"
    assert table.loc["24_7_S1", "material"] == "ice"
    np.testing.assert_allclose(table.loc["24_7_S1", "B3"], 0.3, rtol=1e-6)
    np.testing.assert_allclose(table.loc["24_7_S1", "B12"], 0.93 * 0.3, rtol=1e-6)


def test_repeated_and_cloudy_rows_are_left_out(small):
    path = small / spectra.NEEDED[0]
    table = pd.read_csv(path)
    cloud = table.iloc[[0]].assign(B11=1.5)
    broken = pd.concat([table.iloc[[1]].assign(B2=0.123)] * 7)
    again = table.iloc[[2]].assign(site_name="Wolverine")
    pd.concat([table, cloud, broken, again]).to_csv(path, index=False)
    found = spectra.read_usgs(small)
    assert len(found) == 30
    assert not (found["B2"] == 0.123).any()
    assert (found["glacier"] == "Sperry").all()


def test_firn_lies_between_snow_and_ice():
    snow, ice = np.full((3, 10), 0.8, np.float32), np.full((4, 10), 0.3, np.float32)
    firn = spectra.firn_of(snow, ice, seed=1)
    low, high = spectra.FIRN_SNOW_SHARE
    assert 0.3 + low * 0.5 - 1e-6 <= firn.min()
    assert firn.max() <= 0.3 + high * 0.5 + 1e-6
    np.testing.assert_array_equal(firn, spectra.firn_of(snow, ice, seed=1))


def test_real_snow_is_snow(data):
    found = spectra.materials(data)
    ndsi = {name: normalized_difference(v[:, 1], v[:, SWIR16]) for name, v in found.items()}
    assert np.median(ndsi["snow"]) > 0.9
    assert np.median(ndsi["ice"]) > 0.85
    assert np.median(ndsi["debris"]) < 0
    assert found["snow"][:, SWIR16].max() < spectra.CLOUD_SWIR + 1e-6
    assert len(found["snow"]) > 4000


def test_wolverine_of_june_was_a_copy_of_gulkana(data):
    table = spectra.read_usgs(data)
    assert len(table) == 10_041
    wolverine = table[table["glacier"] == "Wolverine"]
    assert set(wolverine["date"]) == {20210829}


def test_spectra_of_one_glacier_are_its_own(data):
    ours = spectra.materials(data, glaciers=("Sperry",))["debris"]
    others = spectra.materials(data, glaciers=("Gulkana", "Wolverine"))["debris"]
    assert not {tuple(row) for row in ours} & {tuple(row) for row in others}


def test_an_unknown_glacier_lists_the_known(small):
    with pytest.raises(AcquireError, match=r"no spectra of glacier \['Aletsch'\].*'Sperry'"):
        spectra.materials(small, glaciers=("Aletsch",))


def test_a_missing_folder_names_the_files(tmp_path):
    with pytest.raises(AcquireError, match=r"needs a data folder with .*Albedo_master.csv.*lacks"):
        spectra.materials(tmp_path / "nowhere")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_file_without_its_columns_is_refused(small, number):
    path = small / spectra.NEEDED[number]
    path.write_text("a,b\n1,2\n")
    with pytest.raises(AcquireError, match=rf"{path.name} needs the columns .*it lacks"):
        spectra.materials(small)
