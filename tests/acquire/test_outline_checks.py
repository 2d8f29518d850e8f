"""Broken polygons, rows twice, and coordinates of another CRS."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from glaciercube import grid
from glaciercube.acquire.inventories import read_outlines
from glaciercube.acquire.outline_checks import mended
from glaciercube.errors import GlacierCubeWarning, GridError


def frame_of(*shapes, crs="EPSG:32632", **columns):
    ids = [f"g{n}" for n in range(len(shapes))]
    return gpd.GeoDataFrame({"rgi_id": ids, **columns}, geometry=list(shapes), crs=crs)


def at(polygon):
    """Return a small polygon moved to Europe and enlarged."""
    return shapely.transform(polygon, lambda p: p * 1000 + (600_000, 5_000_000))


HOLES_OVERLAP = at(
    shapely.Polygon(
        [(0, 0), (4, 0), (4, 4), (0, 4)],
        [[(1, 1), (3, 1), (3, 3), (1, 3)], [(2, 2), (3.5, 2), (3.5, 3.5), (2, 3.5)]],
    )
)
HOLE_LEAVES = at(
    shapely.Polygon([(0, 0), (4, 0), (4, 4), (0, 4)], [[(3, 1), (6, 1), (6, 2), (3, 2)]])
)
PARTS_OVERLAP = at(shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(1, 1, 3, 3)]))
TOUCHES_ITSELF = at(shapely.Polygon([(0, 0), (2, 0), (1, 1), (2, 2), (0, 2), (1, 1), (0, 0)]))


@pytest.mark.parametrize(
    ("broken", "area"),
    [(HOLES_OVERLAP, 10.75), (HOLE_LEAVES, 15.0), (PARTS_OVERLAP, 7.0)],
)
def test_a_hole_is_a_hole_and_parts_count_once(broken, area):
    """Where the lines alone would fill what two holes share."""
    out, (report,) = mended(frame_of(broken))
    assert out.geometry[0].is_valid
    assert out.geometry[0].area == pytest.approx(area * 1e6)
    assert report["method"] == "structure"


def test_a_ring_that_touches_itself_keeps_its_area():
    out, (report,) = mended(frame_of(TOUCHES_ITSELF, shapely.box(6e5, 5e6, 6.1e5, 5.1e6)))
    assert out.is_valid.all()
    assert report["rgi_id"] == "g0"
    assert "Self-intersection" in report["reason"]
    assert report["change_percent"] == pytest.approx(0, abs=1e-9)
    assert report["area_after_km2"] == pytest.approx(TOUCHES_ITSELF.area / 1e6, rel=2e-3)


def test_the_report_says_all_as_json_and_one_warning_sums_it_up(tmp_path):
    shapes = [HOLES_OVERLAP, shapely.box(7e5, 5e6, 7.1e5, 5.1e6), shapely.Point(6e5, 5e6)]
    frame = frame_of(*shapes, None, src_date="20030799")
    twice = pd.concat([frame, frame.iloc[[1]]])
    twice.to_parquet(tmp_path / "a.parquet")
    with pytest.warns(GlacierCubeWarning) as caught:
        out = read_outlines(tmp_path / "a.parquet")
    (text,) = [str(one.message) for one in caught if one.category is GlacierCubeWarning]
    assert (
        "1 of 5 outlines crossed themselves, mended (area changed by more than 1 %: ['g0'])" in text
    )
    assert "2 of 5 rows are no polygon, left out" in text
    assert "rows that repeat another left out: ['g1']" in text
    report = json.loads(json.dumps(out.attrs["report"]))
    assert report["mended"][0]["change_percent"] == pytest.approx(
        100 * (10.75 / 9.75 - 1), rel=1e-3
    )
    assert report["left_out"] == [
        {"rgi_id": "g2", "reason": "a Point"},
        {"rgi_id": "g3", "reason": "no geometry"},
    ]
    assert report["duplicates"] == ["g1"]
    assert (report["rows"], report["outlines"]) == (5, 2)


def test_parts_and_dates_of_a_glacier_are_no_repetition(tmp_path):
    box = shapely.box(6e5, 5e6, 6.1e5, 5.1e6)
    frame = frame_of(box, box, shapely.box(7e5, 5e6, 7.1e5, 5.1e6))
    frame["rgi_id"], frame["src_date"] = "g", ["2003", "2015", "2015"]
    frame.to_file(tmp_path / "a.gpkg")
    out = read_outlines(tmp_path / "a.gpkg")
    assert len(out) == 3
    assert out.attrs["report"]["several_parts"] == ["g"]


@pytest.mark.parametrize(
    ("shape", "crs", "text"),
    [
        (
            shapely.box(6e5, 5e6, 6.1e5, 5.1e6),
            4326,
            r"WGS 84 \(degrees\), but .*x 600000 to 610000 .*look like metres; set the right one",
        ),
        (
            shapely.box(10, 46, 11, 47),
            32632,
            r"zone 32N \(metres\), but .* x 10 to 11 and y 46 to 47, which look like degrees",
        ),
        (
            shapely.box(46, 100, 47, 101),
            4326,
            "latitude ends at 90, so longitude and latitude seem swapped",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["gpkg", "shp", "parquet"])
def test_coordinates_of_another_crs(tmp_path, shape, crs, text, suffix):
    frame, path = frame_of(shape, crs=crs), tmp_path / f"a.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    with pytest.raises(GridError, match=text):
        read_outlines(path)
    if suffix != "parquet":  # before any row is looked for
        with pytest.raises(GridError, match=text):
            read_outlines(path, within=(10, 46, 11, 47))


def test_outlines_elsewhere_than_their_columns_say(tmp_path):
    """A zone of UTM beside the right one, and swapped axes: both look like places on Earth."""
    right = frame_of(shapely.box(10.7, 46.7, 10.8, 46.8), crs=4326, CenLon=10.75, CenLat=46.75)
    right.to_file(tmp_path / "right.gpkg")
    assert len(read_outlines(tmp_path / "right.gpkg")) == 1
    zone = right.to_crs(32632).set_crs(32633, allow_override=True)
    zone.to_file(tmp_path / "zone.gpkg")
    with pytest.raises(
        GridError, match=r"g0 at longitude 16.75, latitude 46.75 .*zone 33N, but .* say 10.75, 46.7"
    ):
        read_outlines(tmp_path / "zone.gpkg")
    swapped = right.set_geometry(shapely.transform(right.geometry.values, lambda p: p[:, ::-1]))
    swapped.set_crs(4326, allow_override=True).to_file(tmp_path / "swapped.gpkg")
    with pytest.raises(GridError, match=r"longitude 46.75, latitude 10.75 .* x and y are swapped"):
        read_outlines(tmp_path / "swapped.gpkg")


def test_a_glims_identifier_tells_the_place_too(tmp_path):
    south = frame_of(shapely.box(-68.3, -54.8, -68.2, -54.7), crs=4326, glims_id="G291750E54750S")
    south.to_file(tmp_path / "south.gpkg")
    assert len(read_outlines(tmp_path / "south.gpkg")) == 1
    south.assign(glims_id="G291750E54750N").to_file(tmp_path / "north.gpkg")
    with pytest.raises(GridError, match="its own columns say 291.75, 54.75"):
        read_outlines(tmp_path / "north.gpkg")
    # What is no such identifier says nothing.
    south.assign(glims_id="none").to_file(tmp_path / "none.gpkg")
    assert len(read_outlines(tmp_path / "none.gpkg")) == 1


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("oggm-glaciers/Hintereisferner.shp", 1),
        ("oggm-glaciers/Hintereisferner_RGI6.shp", 1),
        ("oggm-glaciers/RGI60-14.03439/RGI60-14.03439.shp", 1),
        ("oggm-glaciers/baltoro_wgs84.shp", 1),
        ("oggm-glaciers/rgi/rgi_oetztal.shp", 20),
        ("oggm-glaciers/rgi7/rgi7c_hef.shp", 1),
        ("oggm-glaciers/rgi7/rgi7g_hef.shp", 1),
        ("oggm-glaciers/rgi7/rgi7g_hef_complex.shp", 23),
        ("oggm-glaciers/south_glacier/SouthGlacier.shp", 1),
        ("everest-landsat7/15_rgi60_glacier_outlines.gpkg", 86),
    ],
)
@pytest.mark.filterwarnings("ignore:.*crossed themselves, mended; see")
def test_real_inventories_have_the_area_they_state(real_data, path, count):
    out = read_outlines(real_data("oggm-glaciers").parent / path)
    assert len(out) == count
    assert out.is_valid.all()
    stated = out["area_km2"].astype(float)
    np.testing.assert_allclose(grid.ground_area(out), stated, rtol=0.02)
    for one in out.attrs["report"]["mended"]:
        assert one["change_percent"] == pytest.approx(0, abs=1e-6)
