"""Ground within the buffer of glaciers: unions, areas, blocks."""

import numpy as np
import pytest
import shapely

from glaciercube.cluster.coverage import blocks_near, reaches, united


def test_a_reach_is_right_to_a_pixel():
    disc = shapely.Point(0, 0).buffer(3000, quad_segs=64)
    reach = reaches(np.array([disc]), 500, 10)[0]
    assert reach.within(shapely.Point(0, 0).buffer(3500.1, quad_segs=256))
    assert shapely.Point(0, 0).buffer(3485, quad_segs=256).within(reach)


def test_a_glacier_smaller_than_a_pixel_is_not_lost():
    reach = reaches(np.array([shapely.box(0, 0, 2, 2)]), 500, 10)[0]
    assert reach.area == pytest.approx(np.pi * 500**2, rel=0.02)


def test_without_buffer_the_glacier_itself_counts():
    assert reaches(np.array([shapely.box(0, 0, 300, 100)]), 0, 10)[0].area == 30_000


def test_ground_of_two_counts_once():
    shapes = shapely.box(np.array([0, 50, 500]), 0, np.array([100, 150, 600]), 100)
    areas = shapely.area(united(shapes, np.array([1, 1, 0]), 2))
    assert areas.tolist() == [10_000, 15_000]


def test_blocks_near_a_shape():
    span = np.array([-2, 1, 0, 3])  # rows from y = 20 down to -10
    assert blocks_near(shapely.box(12, 2, 18, 8), span, 10.0, 1.0) == 1
    assert blocks_near(shapely.box(12, 2, 18, 8), span, 10.0, 2.5) == 5
    assert blocks_near(shapely.box(12, 2, 18, 8), span, 10.0, 3.0) == 9
