"""The main job on a simulated archive, twice."""

import geopandas as gpd
import pandas as pd
import pytest
import xarray as xr

from glaciercube.cli import main

COLUMNS = ("observed", "area true", "area", "IoU", "snowline true", "snowline", "AAR true", "AAR")


@pytest.mark.slow
def test_the_demo_runs_and_the_second_run_redoes_nothing(tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "SIMULATED" in said
    for column in COLUMNS:
        assert column in said
    for name in ("outlines.parquet", "series.csv", "map.png", "series.png"):
        assert (out / name).stat().st_size > 0
    for name in ("cube.zarr", "layers.zarr"):
        assert xr.open_zarr(out / name, decode_coords="all").rio.crs is not None
    check_against_truth(out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert main(["demo", "--out", str(out)]) == 0
    again = capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    assert "nothing to do" in again
    assert table_of(said) == table_of(again)


def table_of(said):
    """Return the table of truth against estimate, as text."""
    return said[said.index("Simulated truth against estimate") :]


def check_against_truth(out):
    """Check the series of the last season against the simulated truth."""
    truth = pd.read_csv(out / "archive" / "truth" / "truth.csv")
    series = pd.read_csv(out / "series.csv")
    assert len(truth) >= 8
    assert truth["date"].str[:4].nunique() == 3
    last = truth["date"].max()
    area = series.loc[series["time"].str.startswith(last), "area"].sum()
    true = truth.loc[truth["date"] == last, "glacier_area_km2"].item()
    assert area == pytest.approx(true, rel=0.15)
    yearly = gpd.read_parquet(out / "outlines.parquet")
    assert yearly["area_km2"].gt(0).all()
