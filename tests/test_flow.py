"""The lines the README opens with, run as they stand on a simulated archive."""

from pathlib import Path

import geopandas as gpd
import matplotlib as mpl
import numpy as np
import pytest

from glaciercube.simulate.archive import simulate

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def archive(tmp_path):
    """Return a small archive whose glacier and years are those the README asks for."""
    made = simulate(
        tmp_path / "archive", size=192, dates=("2021-08-20", "2022-08-20", "2023-08-20")
    )
    glaciers = gpd.read_file(made.outlines).assign(glac_name="Grosser Aletsch")
    glaciers.to_file(tmp_path / "rgi7.gpkg")
    return made


def test_the_readme_runs_as_it_stands(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    text = README.read_text()
    code = text.split("```python\n")[1].split("```")[0]
    names = {"catalog": str(archive.catalog)}
    exec(compile(code, "README.md", "exec"), names)
    assert names["cube"]["elevation"].attrs["units"] == "m"
    series = names["series"].compute()
    assert series.sizes["time"] == 3
    assert (series["area_observed"] > 0).all()
    assert np.isfinite(series["aar"]).any()
    assert series["area"].attrs["units"] == "km2"
    assert (tmp_path / "aletsch.zarr" / "zarr.json").exists()
