"""Areas and footprints on the globe: right at the antimeridian and around the poles."""

from collections.abc import Mapping, Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from pyproj import CRS, Transformer
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from glaciercube.errors import GridError
from glaciercube.grid.areas import WGS84, area_frame

Box = tuple[float, float, float, float]
"""West, south, east, north (degrees); west is never larger than east."""

SIDE = 64
"""An edge is cut where it is longer than this share of its polygon's extent, so that a straight
edge of one CRS stays where it is in another."""

ROUNDING = 1e-9
"""Degrees by which boxes are wider than the coordinates say, for rounding."""

POLAR_LATITUDE = 60.0
"""Beyond this latitude (degrees) footprints are also compared on a polar plane: a straight edge in
degrees is far from a straight edge on the ground there."""

CORNERS = 5
"""Points of a ring of four corners. Some providers write the corners of scenes at the antimeridian
in the wrong order, so that the sides cross; the scene is what the corners span."""

_WORLD = shapely.box(-180, -90, 180, 90)
_PLANES = {1: "EPSG:3413", -1: "EPSG:3031"}
_DEGREES = CRS.from_user_input(WGS84)


def geographic(area: Any) -> gpd.GeoSeries:
    """Return an area in longitude and latitude, cut at the antimeridian, closed over a pole.

    Parameters
    ----------
    area : GeoDataFrame, GeoBox, shapely geometry or (west, south, east, north)
        See `area_frame`. Edges of a projected area are straight in its CRS. Of an area in
        degrees, an edge longer than 180 degrees is taken the short way round (providers
        write footprints at the antimeridian so), unless it runs along a parallel, as the
        side of a box does.

    Returns
    -------
    GeoSeries (row of the area,), EPSG:4326
        Longitude -180 to 180; a row that crosses the antimeridian has parts on both sides.

    Examples
    --------
    >>> slanted = shapely.Polygon([(179, 60), (-179, 60.5), (-179, 61), (179, 61.5)])
    >>> [part.bounds for part in shapely.get_parts(geographic(slanted).iloc[0])]
    [(-180.0, 60.25, -179.0, 61.25), (179.0, 60.0, 180.0, 61.5)]
    """
    frame = area_frame(area)
    flat = shapely.force_2d(frame.geometry.to_numpy())
    if frame.crs.is_geographic:
        plain = gpd.GeoSeries(flat, crs=frame.crs).to_crs(WGS84).to_numpy()
        odd = _wide(plain) | ~shapely.is_valid(plain)
        out = plain.copy()
        out[odd] = [_on_globe(one, along_parallels=True) for one in plain[odd]]
    else:
        dense = densified(gpd.GeoSeries(flat, crs=frame.crs))
        poled = _over_poles(dense)
        plain = poled.to_crs(WGS84).to_numpy()
        if not np.isfinite(shapely.get_coordinates(plain)).all():
            raise GridError(
                f"the area has no place in longitude and latitude: x and y from "
                f"{frame.total_bounds.tolist()} in {frame.crs.name}; is this its CRS?"
            )
        odd = _wide(plain)
        out = plain.copy()
        out[odd] = [_on_globe(one, along_parallels=False) for one in plain[odd]]
    return gpd.GeoSeries(out, crs=WGS84, index=frame.index)


def geographic_boxes(area: Any) -> list[Box]:
    """Return the one or two boxes in longitude and latitude that cover an area.

    Parameters
    ----------
    area : GeoDataFrame, GeoBox, shapely geometry or (west, south, east, north)
        See `geographic`.

    Returns
    -------
    list of (west, south, east, north)
        Degrees, -180 to 180 and -90 to 90. Two boxes, the one that ends at 180 first, where
        the area crosses the antimeridian; the whole range of longitude where it holds a pole.

    Examples
    --------
    >>> geographic_boxes((179, -17, -179, -16))
    [(179.0, -17.0, 180.0, -16.0), (-180.0, -17.0, -179.0, -16.0)]
    """
    frame = area_frame(area)
    shapes = geographic(frame).to_numpy()
    parts, row = shapely.get_parts(shapes, return_index=True)
    bounds = shapely.bounds(parts)
    if not frame.crs.is_geographic:
        south, north, margin = _beyond_vertices(frame, shapely.bounds(shapes))
        bounds[:, 1], bounds[:, 3] = south[row], north[row]
        bounds += np.array([-1, -1, 1, 1]) * np.array([*margin, *margin])
    return [_within_world(box) for box in _arcs(bounds[~shapely.is_empty(parts)])]


def touches(footprint: BaseGeometry | Mapping[str, Any], area: Any) -> bool:
    """Return whether a scene's footprint and an area have a point in common.

    Parameters
    ----------
    footprint : shapely geometry or GeoJSON mapping
        Longitude and latitude, however its provider writes one at the antimeridian.
    area : GeoDataFrame, GeoBox, shapely geometry or (west, south, east, north)

    Examples
    --------
    >>> touches(shapely.box(179.5, -17, 180, -16), (-180, -17, -179, -16))
    True
    """
    return bool(touching([footprint], area)[0])


def touching(footprints: Sequence[BaseGeometry | Mapping[str, Any]], area: Any) -> np.ndarray:
    """Return which footprints have a point in common with an area.

    Parameters
    ----------
    footprints : sequence of shapely geometry or GeoJSON mapping
        Longitude and latitude; cut at the antimeridian, reaching over it with longitudes
        beyond 180, or jumping across it.
    area : GeoDataFrame, GeoBox, shapely geometry or (west, south, east, north)

    Returns
    -------
    array (footprint,), bool
        Edges count as straight in degrees and, beyond 60 degrees of latitude, also as
        straight on a polar plane: a scene that either reading lets touch does.
    """
    shapes = [one if isinstance(one, BaseGeometry) else shape(one) for one in footprints]
    if not shapes:
        return np.zeros(0, bool)
    scenes = geographic(gpd.GeoSeries(shapes, crs=WGS84)).to_numpy()
    place = geographic(area).to_numpy()
    found = _meet(scenes, place)
    for side, plane in _PLANES.items():
        left = ~found & _reaches(scenes, side)
        near = _reaches(place, side)
        if left.any() and near.any():
            found[left] = _meet(_on_plane(scenes[left], plane), _on_plane(place[near], plane, True))
    return found


def densified(frame: gpd.GeoDataFrame | gpd.GeoSeries) -> gpd.GeoSeries:
    """Return outlines with vertices along long edges, ready for another CRS.

    Parameters
    ----------
    frame : GeoDataFrame or GeoSeries
    """
    shapes = frame.geometry.to_numpy()
    bounds = shapely.bounds(shapes)
    extent = np.maximum(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1]) / SIDE
    step = np.where(np.isfinite(extent) & (extent > 0), extent, 1.0)
    return gpd.GeoSeries(shapely.segmentize(shapes, step), crs=frame.crs)


def _wide(shapes):
    """Return which rows in degrees cross the antimeridian, or lie beyond it, or hold a pole."""
    bounds = shapely.bounds(shapes)
    width = bounds[:, 2] - bounds[:, 0]
    return (width >= 180) | (bounds[:, 0] < -180) | (bounds[:, 2] > 180)


def _on_globe(geometry, along_parallels):
    """Return one geometry in degrees with its jumps undone, cut to -180 to 180."""
    parts = []
    for part in shapely.get_parts(geometry):
        if part.geom_type != "Polygon":
            parts.append(shapely.transform(part, _wrapped))
            continue
        outer = _closed(part.exterior, along_parallels)
        holes = [_closed(ring, along_parallels) for ring in part.interiors]
        parts.append(outer.difference(shapely.union_all(holes)) if holes else outer)
    return shapely.union_all(parts)


def _wrapped(points):
    return np.column_stack([(points[:, 0] + 180) % 360 - 180, points[:, 1]])


def _closed(ring, along_parallels):
    """Return the inside of a ring in degrees; around a pole, the cap with the pole."""
    points = shapely.get_coordinates(ring)
    jump = np.diff(points[:, 0])
    turns = np.where(abs(jump) > 180, -np.round(jump / 360), 0.0)
    if along_parallels and shapely.Polygon(points).area > 0:
        turns = np.where(np.diff(points[:, 1]) == 0, 0.0, turns)
    longitude = points[:, 0] + 360 * np.concatenate([[0.0], np.cumsum(turns)])
    line = np.column_stack([longitude, points[:, 1]])
    if abs(longitude[-1] - longitude[0]) > 180:
        pole = 90.0 if points[:, 1].mean() > 0 else -90.0
        line = np.vstack([line, [longitude[-1], pole], [longitude[0], pole]])
    inside = shapely.Polygon(line)
    if len(line) == CORNERS and not inside.is_valid:
        return _cut(inside.convex_hull)
    return _cut(shapely.make_valid(inside))


def _cut(polygon):
    """Return a polygon of any longitudes moved into -180 to 180."""
    west, _, east, _ = polygon.bounds
    turns = range(int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360)))
    moved = [
        shapely.intersection(shapely.transform(polygon, lambda p, k=k: p - (360.0 * k, 0)), _WORLD)
        for k in turns
    ]
    return shapely.union_all(moved)


def _over_poles(series):
    """Return outlines of which those that a pole lies on the edge of hold it inside."""
    shapes = series.to_numpy().copy()
    for pole in _poles(series.crs):
        bounds = shapely.bounds(shapes)
        size = np.nanmax(np.abs(bounds - np.array([*pole, *pole])), axis=1)
        on_edge = shapely.distance(shapely.boundary(shapes), shapely.Point(pole)) < 1e-9 * size
        shapes[on_edge] = shapely.buffer(shapes[on_edge], 1e-6 * size[on_edge])
    return gpd.GeoSeries(shapes, crs=series.crs)


def _poles(crs):
    """Return where the poles lie in a projected CRS, those that have a place there."""
    to_crs = Transformer.from_crs(_DEGREES, crs, always_xy=True)
    places = np.column_stack(to_crs.transform([0.0, 0.0], [90.0, -90.0]))
    back = np.column_stack(to_crs.transform(places[:, 0], places[:, 1], direction="INVERSE"))
    there = np.isfinite(places).all(axis=1) & (abs(back[:, 1] - [90.0, -90.0]) < 1e-6)
    return places[there]


def _beyond_vertices(frame, bounds):
    """Return how far the rows of a projected area reach in degrees, between vertices too.

    Returns
    -------
    south, north : array (row,)
        Degrees. On a plane upon a pole a straight edge comes nearest to it between its ends.
    margin : (float, float)
        Degrees of longitude and latitude, how far edges bend in any other CRS.
    """
    to_degrees = Transformer.from_crs(frame.crs, _DEGREES, always_xy=True)
    south, north = bounds[:, 1], bounds[:, 3]
    if not _is_polar_plane(frame.crs):
        return south, north, _bend(densified(frame), to_degrees)
    for pole in _poles(frame.crs):
        line = shapely.shortest_line(frame.geometry.to_numpy(), shapely.Point(pole))
        near = shapely.get_point(line, 0)
        latitude = to_degrees.transform(shapely.get_x(near), shapely.get_y(near))[1]
        south, north = np.fmin(south, latitude), np.fmax(north, latitude)
    return south, north, (ROUNDING, ROUNDING)


def _is_polar_plane(crs):
    operation = crs.coordinate_operation
    if operation is None:
        return False
    latitudes = [p.value for p in operation.params if p.name == "Latitude of natural origin"]
    return "Polar" in operation.method_name or any(abs(abs(v) - 90) < 1e-9 for v in latitudes)


def _bend(series, to_degrees):
    """Return how far the middle of edges lies from the middle of their ends, in degrees."""
    rings = shapely.get_rings(shapely.get_parts(series.to_numpy()))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    if len(points) < 2:
        return ROUNDING, ROUNDING
    same = ring[1:] == ring[:-1]
    start, end = points[:-1][same], points[1:][same]
    first, last, middle = (
        np.column_stack(to_degrees.transform(one[:, 0], one[:, 1]))
        for one in (start, end, (start + end) / 2)
    )
    bend = abs(((2 * middle - first - last) + 180) % 360 - 180) / 2
    bend = bend[np.isfinite(bend).all(axis=1)]
    longitude, latitude = bend.max(axis=0) if len(bend) else (0.0, 0.0)
    return float(longitude) + ROUNDING, float(latitude) + ROUNDING


def _arcs(bounds):
    """Return bounds of parts joined to one box, or to two that meet at the antimeridian.

    The circle of longitude is opened in its widest gap.
    """
    order = np.argsort(bounds[:, 0])
    west, east = bounds[order, 0], np.maximum.accumulate(bounds[order, 2])
    gaps = np.append(west[1:], west[0] + 360) - east
    widest = int(np.argmax(gaps[::-1]))
    last = len(gaps) - 1 - widest
    if gaps[last] <= 0:
        return [(-180.0, *_span(bounds)[:1], 180.0, *_span(bounds)[1:])]
    if last == len(gaps) - 1:
        south, north = _span(bounds)
        return [(west[0], south, east[-1], north)]
    eastern, western = bounds[order[last + 1 :]], bounds[order[: last + 1]]
    low, high = _span(eastern)
    south, north = _span(western)
    return [(eastern[:, 0].min(), low, 180.0, high), (-180.0, south, western[:, 2].max(), north)]


def _span(bounds):
    return float(bounds[:, 1].min()), float(bounds[:, 3].max())


def _within_world(box):
    west, south, east, north = (float(edge) for edge in box)
    return max(west, -180.0), max(south, -90.0), min(east, 180.0), min(north, 90.0)


def _meet(scenes, place):
    """Return which scenes have a point in common with any part of a place, edges included."""
    tree = shapely.STRtree(shapely.get_parts(place))
    found = np.zeros(len(scenes), bool)
    for turn in (0.0, 360.0, -360.0):
        moved = shapely.transform(scenes, lambda points, t=turn: points + (t, 0.0))
        found[tree.query(moved, predicate="intersects")[0]] = True
    return found


def _reaches(shapes, side):
    bounds = shapely.bounds(shapes)
    return (bounds[:, 3] if side > 0 else -bounds[:, 1]) > POLAR_LATITUDE


def _on_plane(shapes, plane, dense=False):
    """Return shapes in degrees on a polar plane, the half of the globe around it."""
    south, north = (-90, 0) if plane == _PLANES[-1] else (0, 90)
    halves = shapely.intersection(shapes, shapely.box(-180, south, 180, north))
    # A footprint keeps its long straight edges; an area is where its degrees say.
    fine = shapely.segmentize(halves, 0.5 if dense else 90.0)
    there = gpd.GeoSeries(fine, crs=WGS84).to_crs(plane).to_numpy()
    return shapely.make_valid(there)
