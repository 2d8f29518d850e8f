import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from conftest import make_cube

from glaciercube import grid, schema
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.files import from_files
from glaciercube.acquire.scenes import load
from glaciercube.cube import masks
from glaciercube.cube.ablation import end_of_ablation
from glaciercube.cube.ranking import rank_scenes
from glaciercube.errors import SchemaError
from glaciercube.simulate.archive import simulate
from glaciercube.store.writing import write

DATES = ("2021-07-20", "2021-08-25", "2021-09-02", "2021-09-10", "2022-08-25", "2022-09-01")
RANKS = (4, 2, 3, 1, 1, 2)


@pytest.fixture
def glaciers():
    box = shapely.box(600_300, 5_000_300, 600_500, 5_000_700)
    return gpd.GeoDataFrame({"rgi_id": ["a"]}, geometry=[box], crs="EPSG:32632")


@pytest.fixture
def cube(geobox):
    """Return six dates with a cloud each, that of the fourth where the second and third differ."""
    out = make_cube(geobox, dates=DATES)
    out["cloud"].values[:] = False
    out["cloud"].values[3, 40:60] = True
    out["cloud"].values[1, 50:60] = True
    out["cloud"].values[4, :20, 40:] = True
    out["cloud"].values[5, :10, 40:] = True
    return out


@pytest.fixture
def ranking(cube):
    """Return a ranking as `rank_scenes` gives it, of ranks that the test knows."""
    share = ("acquisition", np.linspace(0.1, 0.6, 6), {"units": "1"})
    return xr.Dataset(
        {
            "rank": ("acquisition", np.int16(RANKS)),
            "reason": ("acquisition", np.array([f"rank {rank}" for rank in RANKS])),
            **dict.fromkeys(("snow_off_glacier", "cloud", "coverage", "score"), share),
        },
        coords={
            "acquisition": cube["time"].values,
            "glacier_year": ("acquisition", [2021] * 4 + [2022] * 2),
        },
        attrs={"year_start": "10-01"},
    )


def days(text):
    return int(np.datetime64(text).astype("datetime64[D]").astype(int))


def test_the_best_scene_as_it_is(cube, ranking):
    out = end_of_ablation(cube, ranking=ranking)
    assert out["time"].values.tolist() == cube["time"].values[[3, 4]].tolist()
    assert out["glacier_year"].values.tolist() == [2021, 2022]
    assert out["reason"].values.tolist() == ["rank 1", "rank 1"]
    for name in ("reflectance", "valid", "cloud"):
        np.testing.assert_array_equal(out[name].values, cube[name].values[[3, 4]])
    expected = np.where(out["valid"].values[0], days("2021-09-10"), schema.NO_DAY)
    np.testing.assert_array_equal(out["acquired"].values[0], expected)
    schema.check(out, {**schema.CUBE, "acquired": schema.VARIABLES["acquired"]}, "it")
    assert grid.grid_of(out) == grid.grid_of(cube)


def test_gaps_are_filled_in_the_order_of_the_ranking(cube, ranking):
    out = end_of_ablation(cube, how="composite", ranking=ranking).compute()
    acquired = out["acquired"].values[0]
    assert (acquired[20:40] == days("2021-09-10")).all()
    assert (acquired[40:50] == days("2021-08-25")).all()
    assert (acquired[50:60] == days("2021-09-02")).all()
    assert not out["cloud"].values[0].any()
    for place, day in ((1, "2021-08-25"), (2, "2021-09-02"), (3, "2021-09-10")):
        where = acquired == days(day)
        np.testing.assert_array_equal(
            out["reflectance"].values[0][:, where], cube["reflectance"].values[place][:, where]
        )
    # Both scenes of the second year have cloud there.
    assert not out["valid"].values[1, :10, 40:].any()
    assert out["observations"].values[1, 15, 50] == 1
    assert out["time"].values.tolist() == cube["time"].values[[3, 4]].tolist()
    assert json.loads(out.attrs["composite"])["prefer"] == "rank"


def test_no_gap_is_filled_from_too_far(cube, ranking):
    near = end_of_ablation(cube, how="composite", ranking=ranking, max_days=10).compute()
    acquired = near["acquired"].values[0]
    assert set(np.unique(acquired)) == {days("2021-09-10"), days("2021-09-02"), schema.NO_DAY}
    none = end_of_ablation(cube, how="composite", ranking=ranking, max_days=0).compute()
    assert not none["valid"].values[0, 40:60].any()
    expected = masks.clear(cube).values[[3, 4]]
    np.testing.assert_array_equal(none["valid"].values, expected)


def test_the_ranking_is_told(cube, glaciers):
    table = rank_scenes(cube, glaciers)
    out = end_of_ablation(cube, glaciers)
    told = json.loads(out.attrs["ranking"])
    assert [scene["reason"] for scene in told["scenes"]] == table["reason"].values.tolist()
    assert [scene["rank"] for scene in told["scenes"]] == table["rank"].values.tolist()
    assert told["ring_m"] == 2000
    assert told["how"] == "scene"
    best = table.isel(acquisition=table["rank"].values == 1)
    np.testing.assert_array_equal(out["time"].values, best["acquisition"].values)
    np.testing.assert_array_equal(out["cloud_share"].values, best["cloud"].values)
    for name in ("snow_off_glacier", "coverage", "score", "reason"):
        np.testing.assert_array_equal(out[name].values, best[name].values)


def test_an_unknown_share_is_null(cube, ranking):
    ranking["snow_off_glacier"] = ranking["snow_off_glacier"] * np.nan
    told = json.loads(end_of_ablation(cube, ranking=ranking).attrs["ranking"])
    assert {scene["snow_off_glacier"] for scene in told["scenes"]} == {None}


@pytest.mark.parametrize("how", ["scene", "composite"])
def test_with_a_ranking_nothing_is_computed(cube, ranking, how, no_compute):
    lazy = cube.chunk(time=1, y=32, x=40)
    with no_compute:
        out = end_of_ablation(lazy, how=how, ranking=ranking)
    for name in ("reflectance", "valid", "acquired", "cloud"):
        assert out[name].chunksizes["y"] == (32, 32, 32)
        assert out[name].chunksizes["time"] == (1, 1)
        again = end_of_ablation(lazy, how=how, ranking=ranking)
        assert out[name].data.name == again[name].data.name


@pytest.mark.parametrize("how", ["scene", "composite"])
def test_chunks_and_order_do_not_matter(cube, glaciers, how):
    expected = end_of_ablation(cube, glaciers, how).compute()
    lazy = cube.chunk(time=1, y=40, x=32)
    xr.testing.assert_identical(end_of_ablation(lazy, glaciers, how).compute(), expected)
    shuffled = lazy.isel(time=[3, 5, 0, 4, 2, 1])
    xr.testing.assert_identical(end_of_ablation(shuffled, glaciers, how).compute(), expected)


@pytest.mark.parametrize("how", ["scene", "composite"])
def test_the_result_can_be_stored(cube, ranking, how, tmp_path):
    out = end_of_ablation(cube.chunk(time=1, y=32, x=40), how=how, ranking=ranking)
    assert write(out, tmp_path / "best.zarr").failed == ()


SUMMERS = ("2021-06-05", "2021-07-05", "2021-08-04", "2021-09-06", "2022-06-10", "2022-07-08",
           "2022-08-20", "2022-09-10")  # fmt: skip


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Return a simulated archive of two summers, June to September."""
    return simulate(tmp_path_factory.mktemp("sim") / "archive", size=128, dates=SUMMERS)


@pytest.mark.parametrize("policy", ["provider", "keep-snow"])
def test_in_a_simulated_archive_the_highest_snowline_is_first(simulated, policy):
    outlines = gpd.read_file(simulated.outlines)
    items = search(simulated.catalog, None, "2021/2022", sensor="sentinel-2-l2a")
    cube = load(items, resolution=10, bands=["green", "nir", "swir16"], chunk=64)
    truth = pd.read_csv(simulated.truth / "truth.csv", parse_dates=["date"])
    table = rank_scenes(cube, outlines, clear=policy)
    first = table["rank"].values == 1
    assert truth["date"][first].dt.month.tolist() == [9, 9]
    for year in (2021, 2022):
        own = truth["date"].dt.year == year
        assert first[own][truth["snowline_m"][own].argmax()]
        # The June scenes, snow down to the tongue, are behind those of August too.
        assert table["rank"].values[own][0] > table["rank"].values[own][2]
    out = end_of_ablation(cube, outlines, "composite", clear=policy, ranking=table, max_days=40)
    acquired = out["acquired"].compute().values
    best = [days("2021-09-06"), days("2022-09-10")]
    assert [(acquired[place] == best[place]).mean() > 0.9 for place in (0, 1)] == [True, True]


def test_real_summers_have_a_scene_each(real_data):
    paths = sorted(real_data("vinciguerra-s2").glob("vinciguerra_s2_l1c_*.tif"))
    dates = [f"{year}-02-15" for year in range(2019, 2024)]
    cube = from_files(paths, "sentinel-2-l1c", dates=dates, check="trust-pixels")
    out = end_of_ablation(cube, clear="measured")
    assert out["glacier_year"].values.tolist() == [2019, 2020, 2021, 2022, 2023]
    assert ((out["snow_off_glacier"] > 0.1) & (out["snow_off_glacier"] < 0.3)).all()
    assert (out["coverage"] > 0.97).all()


def test_unknown_how(cube):
    with pytest.raises(SchemaError, match=r"how is one of \['scene', 'composite'\], found 'best'"):
        end_of_ablation(cube, how="best")


@pytest.mark.parametrize("days_allowed", [-1, float("nan")])
def test_days_below_zero(cube, days_allowed):
    with pytest.raises(SchemaError, match="max_days is a number of days such as 20, found"):
        end_of_ablation(cube, max_days=days_allowed)


def test_ranking_of_other_dates(cube, ranking):
    with pytest.raises(SchemaError, match=r"each of the cube's 6 dates.*has 2 and lacks \[\]"):
        end_of_ablation(cube, ranking=ranking.isel(acquisition=[0, 1]))
    with pytest.raises(SchemaError, match=r"has 6 and lacks \['reason'\]"):
        end_of_ablation(cube, ranking=ranking.drop_vars("reason"))


def test_no_reflectance(cube):
    with pytest.raises(SchemaError, match="end_of_ablation needs 'reflectance'"):
        end_of_ablation(cube[["valid"]])
