"""Products with one file per band, as providers pack them."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from glaciercube import grid
from glaciercube.acquire.bundles import bundles_of, finest_grid, geobox_of_file, items_of
from glaciercube.acquire.files import from_files
from glaciercube.errors import AcquireError, GridError
from glaciercube.sensors import SENSORS

OLI, S2 = SENSORS["landsat-oli-c2-l2"], SENSORS["sentinel-2-l2a"]


def write(path, value, step=30, dtype="uint16", west=600_000):
    """Write one band of one value on 1200 m by 600 m."""
    size = 600 // step, 1200 // step
    profile = {
        "driver": "GTiff", "count": 1, "dtype": dtype, "crs": "EPSG:32632", "height": size[0],
        "width": size[1], "transform": from_origin(west, 5_000_000, step, step), "nodata": 0,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.full(size, value, dtype), 1)
    return path


@pytest.mark.parametrize(
    ("sensor", "names", "scene", "keys"),
    [
        (
            OLI,
            [f"LC08_L2SP_195028_20200801_02_T1_{end}.TIF"
             for end in ("SR_B3", "SR_B6", "ST_B10", "QA_PIXEL")],
            "LC08_L2SP_195028_20200801_02_T1", ["green", "swir16", "qa_pixel"],
        ),
        (
            SENSORS["landsat-oli-c2-l1"],
            ["LC08_L1TP_195028_20200801_02_T1_B3.TIF", "LC08_L1TP_195028_20200801_02_T1_B10.TIF"],
            "LC08_L1TP_195028_20200801_02_T1", ["green"],
        ),
        (
            S2,
            ["T32TMS_20220805T103031_B03_10m.jp2", "T32TMS_20220805T103031_B11_20m.jp2",
             "T32TMS_20220805T103031_SCL_20m.jp2", "T32TMS_20220805T103031_AOT_10m.jp2"],
            "T32TMS_20220805T103031", ["green", "swir16", "scl"],
        ),
        (
            SENSORS["hls-s30"],
            [f"HLS.S30.T32TMS.2024214T102559.v2.0.{end}.tif" for end in ("B8A", "Fmask")],
            "HLS.S30.T32TMS.2024214T102559.v2.0", ["B8A", "Fmask"],
        ),
    ],
)  # fmt: skip
def test_names_tell_scene_and_band(sensor, names, scene, keys):
    (bundle,) = bundles_of([Path(name) for name in names], sensor)
    assert bundle.name == scene
    assert list(bundle.files) == keys


def test_other_names_are_no_bundles():
    names = ["vinciguerra_s2_l1c_2019.tif", "scene_20220805.tif", "LC08_ST_B10.TIF"]
    assert bundles_of([Path(name) for name in names], OLI) == []


def test_a_band_twice_is_told():
    with pytest.raises(AcquireError, match=r"a_B03.tif and a_green.tif are both 'green'"):
        bundles_of([Path("a_B03.tif"), Path("a_green.tif")], S2)


@pytest.fixture
def landsat(tmp_path):
    """Return the files of two scenes: reflectance 0.5 and 0.3, snow in one of them."""
    paths = []
    for day, number, quality in (("20200801", 25455, 30048), ("20210804", 18182, 21824)):
        for key in ("SR_B2", "SR_B3", "SR_B5", "SR_B6"):
            paths.append(write(tmp_path / f"LC08_L2SP_195028_{day}_02_T1_{key}.TIF", number))
        paths.append(write(tmp_path / f"LC08_L2SP_195028_{day}_02_T1_QA_PIXEL.TIF", quality))
        paths.append(write(tmp_path / f"LC08_L2SP_195028_{day}_02_T1_QA_RADSAT.TIF", 0))
        paths.append(write(tmp_path / f"LC08_L2SP_195028_{day}_02_T1_ST_B10.TIF", 1))
    return paths


def test_files_of_bands_become_a_cube(landsat):
    cube = from_files(landsat, "landsat-oli-c2-l2", bands=["green", "swir16"])
    assert cube["time"].dt.strftime("%Y-%m-%d").values.tolist() == ["2020-08-01", "2021-08-04"]
    assert cube.attrs["sensor"] == "landsat-oli-c2-l2"
    assert [e["precision"] for e in json.loads(cube.attrs["provenance"])] == ["day", "day"]
    cube = cube.compute()
    means = cube["reflectance"].mean(("band", "y", "x")).values
    np.testing.assert_allclose(means, [0.5, 0.3], atol=1e-4)
    np.testing.assert_array_equal(cube["snow"].all(("y", "x")), [True, False])
    assert cube["valid"].all()
    assert not cube["saturated"].any()
    assert grid.grid_of(cube) == geobox_of_file(landsat[0])


def test_the_finest_band_makes_the_grid(tmp_path):
    paths = [
        write(tmp_path / "T32TMS_20190805T103031_B03_10m.tif", 5000, step=10),
        write(tmp_path / "T32TMS_20190805T103031_B11_20m.tif", 300, step=20),
        write(tmp_path / "T32TMS_20190805T103031_SCL_20m.tif", 11, step=20, dtype="uint8"),
    ]
    cube = from_files(paths, "sentinel-2-l2a").compute()
    assert cube.sizes == {"time": 1, "band": 2, "y": 60, "x": 120}
    assert cube["snow"].all()
    coarse = from_files(paths, "sentinel-2-l2a", bands=["swir16"])
    assert coarse.sizes["x"] == 60


def test_scenes_on_other_grids_are_told(landsat, tmp_path):
    other = write(tmp_path / "LC08_L2SP_195028_20220801_02_T1_SR_B3.TIF", 1, west=630_000)
    with pytest.raises(GridError, match=r"20200801.*is on EPSG:32632.*20220801.*give tiles apart"):
        from_files([*landsat, other], "landsat-oli-c2-l2", bands=["green"])


def test_items_carry_sensor_grid_and_tags(landsat):
    bundles = bundles_of(landsat, OLI)
    (first, stamp), _ = items_of(bundles, OLI, ["2020-08-02", "2021-08-05"])
    assert first.properties["glaciercube:sensor"] == OLI.name
    assert stamp.precision == "day"
    assert str(first.datetime.date()) == "2020-08-02"
    assert first.assets["green"].extra_fields["proj:shape"] == [20, 40]
    assert finest_grid(bundles, ["green"], OLI) == geobox_of_file(landsat[0])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AcquireError, match="cannot open .*a_20200101_B03.tif as a raster"):
        from_files([tmp_path / "a_20200101_B03.tif"], "sentinel-2-l2a")


def test_the_greenland_scene_is_bright_in_sight_and_dark_in_the_infrared(real_data):
    folder = real_data("landsat8-c2l2-greenland")
    cube = from_files(sorted(folder.glob("*.TIF")), "landsat-oli-c2-l2").compute()
    assert 0.4 < float(cube["valid"].mean()) < 0.7, "the rest is the collar of a turned scene"
    values = cube["reflectance"].isel(time=0)
    medians = values.median(("y", "x"))
    assert 0.9 < float(medians.sel(band="blue")) < 1.05
    assert 0.1 < float(medians.sel(band="swir16")) < 0.3
    assert 0.0 < float(values.min()) < float(values.max()) < 1.5
    assert float(cube["cloud"].mean()) > 0.25, "the provider takes half of the ice for cloud"
    assert float(cube["snow"].mean()) > 0.15
