"""Glacier outlines as polygons, one row per glacier and date."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dask.array as da
import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio.features
import shapely
import xarray as xr
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from glaciercube import cover, grid, schema
from glaciercube.errors import SchemaError
from glaciercube.products import areas, tables
from glaciercube.windows import Window

KM2 = 1e-6
BIN_HEIGHT_M = 1.0
"""Elevations of outlines are known to one bin."""

LONGEST_EDGE = 256
"""Pixels; longer straight edges get points between, so that they bend with the projection."""

FROM_INVENTORY = ("o1region", "o2region", "glims_id", "anlys_id")
COLUMNS = (
    "id", "rgi_id", *FROM_INVENTORY, "src_date", "cenlon", "cenlat", "utm_zone", "area_km2",
    "glac_name", "zmin_m", "zmax_m", "zmed_m", "zmean_m", "area_uncertainty_km2",
    "area_probability_km2", "observed_fraction", "geometry",
)  # fmt: skip
"""RGI 7 names and order where RGI has the column."""


@dataclass(frozen=True)
class Piece:
    """A polygon of one block, or of a whole date, and its sums."""

    number: int
    """Row of the outlines that cut it; -1 without outlines."""

    polygon: BaseGeometry
    """In pixel coordinates of the whole grid."""

    sums: areas.Sums
    seam: bool
    """Whether it reaches the edge of its block."""


def outlines(
    layers: xr.Dataset,
    *,
    min_area_km2: float = 0.01,
    within: gpd.GeoDataFrame | None = None,
) -> gpd.GeoDataFrame:
    """Return the glacier outlines of each date as polygons; computes one date at a time.

    Parameters
    ----------
    layers : Dataset
        `extent` (time, y, x), uint8; used as well where present: `glacier_probability`,
        `elevation`.
    min_area_km2 : float
        Smaller glaciers are left out; RGI's own limit by default.
    within : GeoDataFrame, optional
        Outlines that cut the extent into glaciers and give them their `rgi_id` and name.
        Without them a glacier is what hangs together by pixel edges (corners do not join).

    Returns
    -------
    GeoDataFrame
        In WGS84 (EPSG:4326), holes kept, with the columns of `COLUMNS`: RGI 7's, and
        `id` (the inventory's, or date and place), `area_uncertainty_km2`,
        `area_probability_km2`, `observed_fraction`. Areas are those of the layers' own
        pixels, not of the WGS84 polygons. `attrs["unobserved"]` lists dates without any
        observed pixel: they have no row, which does not mean no glacier.

    Raises
    ------
    SchemaError
        If the layers have no `extent`.

    Notes
    -----
    Polygons follow pixel edges. `observed_fraction` is the share of the outline of `within`
    that was observed; without outlines, the share of the polygon's own margin beyond which
    the surface was observed (the rest borders on cloud, nodata or the image's border, and
    the glacier may go on). `area_uncertainty_km2`: see `products.areas.area_uncertainty`.
    Elevations are binned to 1 m.
    """
    if "extent" not in layers:
        raise SchemaError(
            f"outlines needs 'extent' (time, y, x), but the layers have "
            f"{sorted(map(str, layers.data_vars))}; give predict a network with an extent task, "
            "or outlines (within=...)"
        )
    schema.check(layers, {"extent": schema.LAYERS["extent"]}, "the layers")
    geobox = grid.grid_of(layers, "the layers")
    if within is not None:
        cover.require_overlap(within, geobox, "the outlines of within=")
    rows: list[dict[str, Any]] = []
    unobserved = []
    for place in range(layers.sizes["time"]):
        moment = pd.Timestamp(layers["time"].values[place])
        pieces, observed = _date_pieces(layers.isel(time=[place]), geobox, within, min_area_km2)
        if not observed:
            unobserved.append(moment.isoformat())
        glaciers = _joined(pieces, within is not None)
        rows += [
            _row(glacier, moment, geobox, within)
            for glacier in glaciers
            if glacier.sums["glacier"] * KM2 >= min_area_km2
        ]
    frame = gpd.GeoDataFrame(rows, columns=list(COLUMNS), geometry="geometry", crs=grid.WGS84)
    if "glacier_probability" not in layers:
        frame["area_probability_km2"] = np.nan
    frame["src_date"] = pd.to_datetime(frame["src_date"])
    frame.attrs["unobserved"] = unobserved
    if layers.attrs.get("simulated"):
        frame.attrs["simulated"] = True
    return frame


def _date_pieces(layers, geobox, within, min_area_km2):
    """Return the pieces of all blocks of one date, and whether anything was observed."""
    extent = layers["extent"] if layers["extent"].chunks is not None else layers["extent"].chunk()
    sizes = extent.chunks[1:]
    names = [name for name in ("glacier_probability", "elevation") if name in layers]
    variables = [layers[name].chunk({"y": sizes[0], "x": sizes[1]}).data for name in names]
    indexed = [part for one in variables for part in (one, "tyx"[-one.ndim :])]
    cells, _ = cover.lazy_pieces(within, geobox, sizes)
    wide = tables.with_neighbours(extent.data)
    row_area = da.from_array(grid.pixel_area(geobox), chunks=(sizes[0],))
    found = da.blockwise(
        _block_pieces, "tyx", wide, "tyx", cells, "yx", row_area, "y", *indexed,
        names=tuple(names), shape=(geobox.shape.y, geobox.shape.x),
        min_area_m2=min_area_km2 / KM2, dtype=object, align_arrays=False,
        adjust_chunks={"t": 1, "y": 1, "x": 1}, meta=np.empty((0, 0, 0), object),
    )  # fmt: skip
    blocks = found.compute().ravel().tolist()
    return [piece for pieces, _ in blocks for piece in pieces], any(seen for _, seen in blocks)


def _block_pieces(wide, cells, row_area, *arrays, names, shape, min_area_m2):
    """Return one block's pieces and whether it observed anything, in an array of one cell."""
    window, inventory = cells[0, 0]
    layers = {n: one[0] if one.ndim == 3 else one for n, one in zip(names, arrays, strict=True)}
    block = areas.Block(
        state=wide[0], row_area=row_area, layers=layers, bin_height_m=BIN_HEIGHT_M,
        outlined=inventory is not None,
    )  # fmt: skip
    own = wide[0, 1:-1, 1:-1]
    if inventory is None:
        pieces = list(_connected(block, own, window, shape, min_area_m2))
    else:
        pieces = list(_cut(block, own, window, inventory))
    out = np.empty((1, 1, 1), object)
    out[0, 0, 0] = (pieces, bool((own != schema.NODATA).any()))
    return out


def _connected(block, own, window, shape, min_area_m2) -> Iterator[Piece]:
    """Yield the pieces of glacier that hang together within a block, but for specks."""
    labels, count = ndimage.label(own == 1)
    boxes = ndimage.find_objects(labels)
    seams = np.array([False, *(_reaches_seam(box, window, shape) for box in boxes)])
    pixels = np.bincount(labels.ravel(), minlength=count + 1)
    keep = seams | (pixels * block.row_area.max() >= min_area_m2)
    labels = np.where(keep, np.arange(count + 1), 0)[labels].astype(np.int32)
    for polygon, label in _shapes(labels, window):
        number = int(label)
        ys, xs = boxes[number - 1]
        small = Window(ys.start + 1, ys.stop + 1, xs.start + 1, xs.stop + 1)
        share = (labels[ys, xs] == number).astype(np.float32)
        sums = areas.block_sums(block, [(-1, small, share)])[-1]
        yield Piece(-1, polygon, sums, bool(seams[number]))


def _reaches_seam(box, window, shape):
    """Say whether a piece reaches an edge of its block that is no border of the image."""
    ys, xs = box
    return (
        (ys.start == 0 and window.y0 > 0)
        or (xs.start == 0 and window.x0 > 0)
        or (ys.stop == window.shape[0] and window.y1 < shape[0])
        or (xs.stop == window.shape[1] and window.x1 < shape[1])
    )


def _cut(block, own, window, inventory) -> Iterator[Piece]:
    """Yield the glacier of a block as cut by outlines."""
    table = areas.block_sums(block, cover.zones_of(window, inventory))
    mask = (own == 1).astype(np.uint8)
    whole = shapely.union_all([polygon for polygon, _ in _shapes(mask, window)])
    for number, wkb in inventory:
        if number in table:
            part = cover.polygonal(shapely.intersection(whole, shapely.from_wkb(wkb)))
            yield Piece(number, part, table[number], True)


def _shapes(labels, window):
    """Yield (polygon in pixel coordinates of the whole grid, label) of each piece."""
    shift = rasterio.Affine.translation(window.x0, window.y0)
    found = rasterio.features.shapes(labels, labels > 0, connectivity=4, transform=shift)
    for geometry, label in found:
        yield cover.polygonal(shapely.geometry.shape(geometry)), label


def _joined(pieces, cut):
    """Return the glaciers of a date from the pieces of its blocks."""
    if cut:
        numbers = sorted({piece.number for piece in pieces})
        groups = [[piece for piece in pieces if piece.number == number] for number in numbers]
    else:
        groups = [[piece] for piece in pieces if not piece.seam]
        groups += _across_seams([piece for piece in pieces if piece.seam])
    glaciers = [_one(group) for group in groups]
    return glaciers if cut else sorted(glaciers, key=_largest_first)


def _largest_first(glacier):
    return -glacier.sums["glacier"], glacier.polygon.bounds


def _across_seams(pieces):
    """Return groups of pieces that share an edge across a seam."""
    polygons = [piece.polygon for piece in pieces]
    parts = shapely.get_parts(shapely.union_all(polygons))
    points = shapely.point_on_surface(polygons)
    which, part = shapely.STRtree(parts).query(points, predicate="within")
    groups: dict[int, list[Piece]] = {}
    for piece, group in zip(which, part, strict=True):
        groups.setdefault(int(group), []).append(pieces[int(piece)])
    return [groups[group] for group in sorted(groups)]


def _one(pieces):
    sums = areas.merged({0: piece.sums} for piece in pieces)[0]
    polygon = cover.polygonal(shapely.union_all([piece.polygon for piece in pieces]))
    return Piece(pieces[0].number, shapely.normalize(shapely.simplify(polygon, 0)), sums, False)


def _row(glacier, moment, geobox, within):
    """Return one row of the outlines."""
    geometry = _in_wgs84(glacier.polygon, geobox)
    point = geometry.representative_point()
    sums = glacier.sums
    row = {
        "src_date": moment,
        "cenlon": point.x,
        "cenlat": point.y,
        "utm_zone": int((point.x + 180) // 6) % 60 + 1,
        "area_km2": sums["glacier"] * KM2,
        "area_probability_km2": sums["probability"] * KM2,
        "geometry": geometry,
        **_elevations(sums),
    }
    if within is None:
        margin = sums["margin"] + sums["margin_unseen"]
        row["id"] = (
            f"{moment:%Y%m%d}-G{point.x % 360:09.5f}E{abs(point.y):08.5f}{'NS'[point.y < 0]}"
        )
        row["observed_fraction"] = sums["margin"] / margin if margin else 0.0
        row["area_uncertainty_km2"] = sums["margin"] * KM2
        return row
    known = within.iloc[glacier.number]
    outline = cover.in_pixels(within.iloc[[glacier.number]], geobox)[0]
    inside = outline.intersection(shapely.box(0, 0, geobox.shape.x, geobox.shape.y)).area
    inside /= outline.area
    row["observed_fraction"] = sums["observed"] / sums["cover"] * inside
    row["area_uncertainty_km2"] = areas.area_uncertainty(sums, inside) * KM2
    row |= {name: known[name] for name in ("rgi_id", "glac_name", *FROM_INVENTORY) if name in known}
    row["id"] = row.get("rgi_id", str(glacier.number))
    return row


def _elevations(sums):
    """Return lowest, highest, median and mean elevation by RGI's names."""
    weight = sums.bins[2]
    if not weight.any():
        return {}
    centre = sums.first + 0.5 + np.arange(len(weight))
    some = centre[weight > 0]
    middle = np.searchsorted(weight.cumsum(), weight.sum() / 2)
    return {
        "zmin_m": some[0],
        "zmax_m": some[-1],
        "zmed_m": centre[middle],
        "zmean_m": float(np.average(centre, weights=weight)),
    }


def _in_wgs84(polygon, geobox):
    """Return a polygon of pixel coordinates in longitude and latitude."""
    affine = geobox.affine

    def to_map(points):
        column, row = points[:, 0], points[:, 1]
        return np.column_stack(
            [
                affine.a * column + affine.b * row + affine.c,
                affine.d * column + affine.e * row + affine.f,
            ]
        )

    dense = shapely.transform(shapely.segmentize(polygon, LONGEST_EDGE), to_map)
    series = gpd.GeoSeries([dense], crs=str(geobox.crs)).to_crs(grid.WGS84)
    return cover.polygonal(series.iloc[0])
