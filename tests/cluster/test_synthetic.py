"""The made-up world is like the real one where a plan looks."""

import numpy as np
import pytest
import shapely

from cluster import synthetic


@pytest.fixture(scope="module")
def world():
    return synthetic.world(20_000)


def test_numbers_are_exact_and_in_proportion(world):
    assert len(world) == 20_000
    assert world["rgi_id"].is_unique
    counts = world["o2region"].value_counts()
    real = {code: number for code, number, *_ in synthetic.REGIONS}
    assert set(counts.index) == set(real)
    assert counts["14-02"] == pytest.approx(real["14-02"] / 274_570 * 20_000, rel=0.02)


def test_sizes_are_those_of_rgi_7(world):
    areas = world["area_km2"].to_numpy()
    classes = [np.mean(areas < 1), np.mean((areas >= 1) & (areas < 10)), np.mean(areas >= 10)]
    assert classes == pytest.approx([0.836, 0.139, 0.025], abs=0.01)
    assert areas.sum() == pytest.approx(706_745 / 274_570 * 20_000, rel=0.25)


def test_outlines_are_valid_and_have_the_stated_area(world):
    assert shapely.is_valid(world.geometry.to_numpy()).all()
    alps = world[world["o2region"] == "11-01"]
    areas = alps.to_crs("ESRI:54034").area / 1e6
    assert np.allclose(areas, alps["area_km2"], rtol=0.02, atol=1e-4)


def test_a_region_is_made_alike_again():
    one, other = (synthetic.world(50, seed=2, regions="11") for _ in range(2))
    assert one.geometry.geom_equals(other.geometry).all()
    assert set(one["o2region"]) == {"11-01", "11-02"}
