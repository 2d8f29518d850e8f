"""A plan in a few lines."""

from pathlib import Path

import pytest

from cluster.rounds import glaciers, options
from glaciercube.cluster import tables
from glaciercube.cluster.outline_sources import digests_of
from glaciercube.cluster.summaries import balance, size, text


@pytest.fixture(scope="module")
def tiles():
    frame = glaciers((10, 46, 30_000), (60, 46, 400), (120, 85, 400))
    return tables.tiles_of(frame, digests_of(frame), options())


def test_balance_by_hand(tiles):
    found = balance(tiles.assign(useful=[300, 60, 20]), 100)
    assert found["median"] == 0.6
    assert found["largest"] == 3
    assert found["above"] == 1
    assert found["in_full"] == pytest.approx(360 / 380)
    assert found["p10"] == pytest.approx(0.28)


def test_the_text_says_what_matters(tiles):
    told = text(Path("/somewhere/alps.parquet"), tiles, options(cards=("extent",)))
    assert len(told.splitlines()) == 5
    assert (
        "alps.parquet: 3 glaciers in 3 tiles on 3 planes (EPSG:32632, EPSG:32641, EPSG:3413)"
        in told
    )
    assert "sentinel-2-l2a, 2021-01-01/2021-12-31, 07-01 to 09-30, 100 m, networks extent" in told
    assert "target 0.0 million" in told
    assert "estimates:" in told
    assert "1 single glaciers above it" in told


def test_a_year_without_season_and_networks(tiles):
    told = text(Path("p.parquet"), tiles, options(season=None))
    assert "all year" in told
    assert "networks none" in told


@pytest.mark.parametrize(("number", "told"), [(0, "0 B"), (999, "999 B"), (1.2e12, "1.2 TB")])
def test_bytes_for_people(number, told):
    assert size(number) == told
