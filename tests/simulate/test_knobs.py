import numpy as np

from glaciercube.simulate.knobs import draw_knobs


def test_drawn_knobs_cover_landscapes_with_and_without_glaciers():
    rng = np.random.default_rng(0)
    drawn = [draw_knobs(rng, 2560.0) for _ in range(300)]
    bare = np.mean([knobs.ice_share == 0 for knobs in drawn])
    assert 0.06 < bare < 0.2
    assert {knobs.valleys for knobs in drawn} == {1, 2, 3, 4, 5}
    assert min(knobs.top_m - knobs.bottom_m for knobs in drawn) >= 900


def test_the_mountains_are_never_smaller_than_the_landscape():
    rng = np.random.default_rng(1)
    assert all(draw_knobs(rng, 9000.0).extent_m >= 9000 for _ in range(50))
