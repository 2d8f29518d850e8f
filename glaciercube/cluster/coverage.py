"""What lies within the buffer of glaciers: shapes, pixels and blocks, for many at once."""

import numpy as np
import shapely

QUARTER = 8
"""Edges of a quarter of a circle; its polygon is half a percent narrower at most."""


def reaches(shapes: np.ndarray, distance: float, tolerance: float) -> np.ndarray:
    """Return the ground within a distance of each shape.

    Parameters
    ----------
    shapes : array (shape,) of Geometry
        On a plane.
    distance : float
        In its units.
    tolerance : float
        How far the shapes' edges may move before, as they are drawn with fewer vertices:
        GEOS takes a time that grows faster than their number.
    """
    simple = shapely.simplify(shapes, tolerance, preserve_topology=False)
    lost = shapely.is_empty(simple)
    simple[lost] = shapes[lost]
    return shapely.buffer(simple, distance, quad_segs=QUARTER)


def united(shapes: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return the union of the shapes of each label.

    Parameters
    ----------
    shapes : array (shape,) of Geometry
    labels : array (shape,), int
        0 to `count` - 1, each at least once.
    count : int

    Examples
    --------
    >>> boxes = shapely.box([0, 1, 9], 0, [2, 3, 10], 1)
    >>> shapely.area(united(boxes, np.array([0, 0, 1]), 2))
    array([3., 1.])
    """
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(1, count))
    out = np.empty(count, object)
    out[:] = [shapely.union_all(group) for group in np.split(shapes[order], ends)]
    return out


def blocks_near(shape: shapely.Geometry, span: np.ndarray, size: float, distance: float) -> int:
    """Return how many blocks of a span lie within a distance of a shape.

    Parameters
    ----------
    shape : Geometry
        On the plane of the span.
    span : array (4,), int
        See `tiling.spans_of`.
    size : float
        Of a block.
    distance : float

    Examples
    --------
    >>> blocks_near(shapely.box(5, -8, 8, -2), np.array([0, 2, 0, 2]), 10.0, 2.0)
    3
    """
    top, bottom, left, right = span
    rows, columns = np.mgrid[top:bottom, left:right].reshape(2, -1)
    boxes = shapely.box(columns * size, -(rows + 1) * size, (columns + 1) * size, -rows * size)
    shapely.prepare(shape)
    return int(shapely.dwithin(shape, boxes, distance).sum())
