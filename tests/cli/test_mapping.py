"""`map` on a user's own GeoTIFFs: five real summers, and everything that may be wrong."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from cards import make_card
from rasterio.transform import from_origin

import glaciercube as gcube
from glaciercube.cli import main, steps
from glaciercube.indices import snow_by_thresholds
from glaciercube.metrics import iou

YEARS = (2019, 2020, 2021, 2022, 2023)
LABELLED = (2019, 2020)
SIX = ("B2", "B3", "B4", "B8", "B11", "B12")


def map_command(files, out, *more):
    return main(["map", *map(str, files), "--sensor", "sentinel-2-l1c", "--out", str(out), *more])


@pytest.fixture
def write_tif(tmp_path):
    """Return a function that writes one made scene of six bands."""

    def write(name, *, bands=SIX, crs="EPSG:32719", west=541_880, fill=None):
        generator = np.random.default_rng(len(name))
        values = generator.integers(60, 4000, (len(bands), 40, 50)).astype(np.uint16)
        if fill is not None:
            values[:] = fill
        path = tmp_path / name
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=50,
            height=40,
            count=len(bands),
            dtype="uint16",
            crs=crs,
            transform=from_origin(west, 3_936_170, 10, 10),
        ) as file:
            file.write(values)
            file.descriptions = bands
        return path

    return write


@pytest.mark.filterwarnings("default::glaciercube.errors.GlacierCubeWarning")
def test_five_real_summers(real_data, tmp_path, capsys):
    folder = real_data("vinciguerra-s2")
    files = [folder / f"vinciguerra_s2_l1c_{year}.tif" for year in YEARS]
    out = tmp_path / "out"
    assert map_command(files, out) == 0
    said = capsys.readouterr()
    assert "2022" in said.err
    assert "2023" in said.err
    assert "-1000" in said.err
    for name in ("outlines.parquet", "series.csv", "map.png", "series.png"):
        assert (out / name).stat().st_size > 0
    layers = xr.open_zarr(out / "layers.zarr", decode_coords="all")
    assert {"extent", "facies", "confidence"} <= set(layers.data_vars)
    assert layers.rio.crs.to_epsg() == 32719
    assert layers["time"].dt.year.values.tolist() == list(YEARS)
    series = pd.read_csv(out / "series.csv")
    assert len(series) == 5
    assert series["area"].between(0.3, 1.5).all()
    outlines = gpd.read_parquet(out / "outlines.parquet")
    assert sorted(set(pd.to_datetime(outlines["src_date"]).dt.year)) == list(YEARS)
    assert outlines.is_valid.all()
    better_than_thresholds(folder, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert map_command(files, out) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def better_than_thresholds(folder, out):
    """Check the real labels: the network against plain thresholds on the same cube."""
    cube, layers = gcube.read(out / "cube.zarr"), gcube.read(out / "layers.zarr")
    for year in LABELLED:
        with rasterio.open(folder / f"label_{year}.tif") as file:
            label = file.read(1) == 1
        scene = cube["reflectance"].sel(time=str(year)).squeeze("time").load()
        green, nir, swir16 = (scene.sel(band=name).values for name in ("green", "nir", "swir16"))
        baseline = iou(label, snow_by_thresholds(green, nir, swir16))
        extent = layers["extent"].sel(time=str(year)).squeeze("time").values
        assert iou(label, extent == 1) > baseline


def test_other_bands_than_the_sensor(write_tif, tmp_path, capsys):
    path = write_tif("scene_20200201.tif", bands=("a", "b", "c", "d", "e", "f"))
    assert map_command([path], tmp_path / "out") == 1
    assert "sentinel-2-l1c" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_crs(write_tif, tmp_path, capsys):
    path = write_tif("scene_20200201.tif", crs=None)
    assert map_command([path], tmp_path / "out") == 1
    assert "coordinate reference system" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_different_grids(write_tif, tmp_path, capsys):
    files = [write_tif("scene_20200201.tif"), write_tif("scene_20210201.tif", west=541_890)]
    assert map_command(files, tmp_path / "out") == 1
    assert "grid" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unknown_sensor(write_tif, tmp_path, capsys):
    path = write_tif("scene_20200201.tif")
    code = main(["map", str(path), "--sensor", "spot-5", "--out", str(tmp_path / "out")])
    assert code == 1
    assert "unknown sensor 'spot-5'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_date_that_cannot_be_parsed(write_tif, tmp_path, capsys):
    path = write_tif("summer.tif")
    assert map_command([path], tmp_path / "out") == 1
    assert "--dates" in capsys.readouterr().err
    assert map_command([path], tmp_path / "out", "--dates", "32.1.2020") == 1
    assert "32.1.2020" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_date_without_any_pixel(write_tif, tmp_path, capsys):
    files = [write_tif("scene_20200201.tif"), write_tif("scene_20210201.tif", fill=0)]
    assert map_command(files, tmp_path / "out") == 1
    assert "scene_20210201.tif" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bands_the_network_needs(write_tif, tmp_path, capsys):
    path = write_tif("scene_20200201.tif", bands=("B2", "B3", "B4", "B8"))
    assert map_command([path], tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "swir16" in said
    assert not (tmp_path / "out").exists()


def test_another_input_into_the_same_folder_is_refused(write_tif, tmp_path, capsys):
    assert map_command([write_tif("scene_20200201.tif")], tmp_path / "out") == 0
    other = write_tif("scene_20210201.tif")
    assert map_command([other], tmp_path / "out") == 1
    assert "overwrite" in capsys.readouterr().err


def test_a_corrupt_weights_file(write_tif, tmp_path, monkeypatch, capsys):
    (tmp_path / "cards").mkdir()
    card = make_card(tmp_path / "cards", task="extent")
    Path(card.weights).write_bytes(b"not weights")
    monkeypatch.setattr(steps, "CARDS", (card, "facies"))
    path = write_tif("scene_20200201.tif")
    assert map_command([path], tmp_path / "out") == 1
    assert "corrupt or another one" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
