"""Areas and footprints at the antimeridian and around the poles."""

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from glaciercube import grid
from glaciercube.errors import GridError

GEOD = Geod(ellps="WGS84")


def held(boxes, longitude, latitude):
    """Return which points lie in any of the boxes; those on the antimeridian on either side."""
    inside = np.zeros(len(longitude), bool)
    longitude = np.clip(longitude, -180, 180)  # PROJ gives 3e-14 more
    turned = np.where(abs(abs(longitude) - 180) < 1e-9, -longitude, longitude)
    for west, south, east, north in boxes:
        along = (longitude >= west) & (longitude <= east) | (turned >= west) & (turned <= east)
        inside |= along & (latitude >= south) & (latitude <= north)
    return inside


def points_of(geobox, count=40):
    """Return points all over a grid, its edges included, in degrees."""
    rows, columns = np.meshgrid(
        np.linspace(0, geobox.shape.y, count), np.linspace(0, geobox.shape.x, count)
    )
    x, y = geobox.affine * (columns.ravel(), rows.ravel())
    return Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True).transform(x, y)


CRS = ["EPSG:3413", "EPSG:3031", "EPSG:3995", "EPSG:6931", "EPSG:3035"]


@settings(max_examples=60, deadline=None)
@example(crs="EPSG:3031", x=-1, y=-1, rows=1, columns=1, resolution=300.0)
@example(crs="EPSG:3413", x=-1, y=1, rows=1, columns=3, resolution=300.0)
@given(
    crs=st.sampled_from(CRS),
    x=st.integers(-200, 200),
    y=st.integers(-200, 200),
    rows=st.integers(1, 150),
    columns=st.integers(1, 150),
    resolution=st.sampled_from([300.0, 5000.0]),
)
def test_every_point_of_a_polar_grid_lies_in_a_box(crs, x, y, rows, columns, resolution):
    middle = 4_300_000 if crs == "EPSG:3035" else 0
    corner = Affine(resolution, 0, middle + x * resolution, 0, -resolution, y * resolution + middle)
    geobox = GeoBox((rows, columns), corner, crs)
    boxes = grid.geographic_boxes(geobox)
    assert 1 <= len(boxes) <= 2
    for west, south, east, north in boxes:
        assert -180 <= west <= east <= 180
        assert -90 <= south <= north <= 90
    longitude, latitude = points_of(geobox)
    # PROJ is exact to about 1e-9 degrees there and back; a point on the pole has no longitude.
    assert held(boxes, longitude, latitude)[abs(latitude) < 90 - 1e-7].all()


@settings(max_examples=50, deadline=None)
@given(
    zone=st.sampled_from([1, 2, 60]),
    north=st.booleans(),
    x=st.integers(100, 900),
    y=st.integers(500, 9300),
    rows=st.integers(1, 300),
    columns=st.integers(1, 300),
)
def test_every_point_of_a_grid_at_the_antimeridian_lies_in_a_box(zone, north, x, y, rows, columns):
    corner = Affine(1000, 0, x * 1000, 0, -1000, y * 1000)
    geobox = GeoBox((rows, columns), corner, f"EPSG:{(32600 if north else 32700) + zone}")
    boxes = grid.geographic_boxes(geobox)
    assert held(boxes, *points_of(geobox)).all()
    # Tight: not wider than the points are, but for their own spacing.
    longitude, latitude = points_of(geobox, 80)
    turned = (longitude - longitude[0] + 180) % 360 - 180
    width = sum(east - west for west, _, east, _ in boxes)
    assert width <= np.ptp(turned) * 1.02 + 1e-6
    assert min(box[1] for box in boxes) >= latitude.min() - 0.02 * np.ptp(latitude) - 1e-6


@settings(max_examples=50, deadline=None)
@given(
    west=st.floats(-180, 179.9),
    width=st.floats(0.01, 359),
    south=st.floats(-90, 89),
    height=st.floats(0.01, 90),
)
def test_boxes_come_back_as_they_are_given(west, width, south, height):
    east, north = west + width, min(south + height, 90)
    east = east - 360 if east > 180 else east
    boxes = grid.geographic_boxes((west, south, east, north))
    expected = [(west, south, east, north)]
    if west > east:
        expected = [(west, south, 180.0, north), (-180.0, south, east, north)]
    np.testing.assert_allclose(boxes, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("area", "boxes"),
    [
        ((-180, -90, 180, 90), [(-180, -90, 180, 90)]),
        (shapely.box(-180, -90, 180, -60), [(-180, -90, 180, -60)]),
        (shapely.box(170, 60, 190, 70), [(170, 60, 180, 70), (-180, 60, -170, 70)]),
        (shapely.box(200, 60, 210, 70), [(-160, 60, -150, 70)]),
        (shapely.MultiPoint([(170, 60), (-170, 70)]), [(170, 60, 180, 60), (-180, 70, -170, 70)]),
        (shapely.Point(190, 60), [(-170, 60, -170, 60)]),
        # A ring around the pole, as reprojecting makes it.
        (
            shapely.Polygon([(0, -70), (90, -71), (179, -72), (-90, -70.5)]),
            [(-180, -90, 180, -70)],
        ),
        (shapely.Polygon([(-120, 85), (0, 85), (120, 85)]), [(-180, 85, 180, 90)]),
    ],
)
def test_areas_in_degrees(area, boxes):
    np.testing.assert_allclose(grid.geographic_boxes(area), boxes)


def test_distant_areas_share_the_box_over_the_narrower_gap():
    """Alaska and the Himalaya meet over the Pacific, Greenland and Svalbard do not."""
    far = gpd.GeoSeries([shapely.box(-150, 60, -149, 61), shapely.box(85, 27, 86, 28)], crs=4326)
    assert grid.geographic_boxes(far) == [(85, 27, 180, 28), (-180, 60, -149, 61)]
    near = gpd.GeoSeries([shapely.box(-50, 70, -49, 71), shapely.box(15, 78, 16, 79)], crs=4326)
    assert grid.geographic_boxes(near) == [(-50, 70, 16, 79)]


def test_a_grid_that_holds_the_pole_reaches_around_it():
    around = GeoBox.from_bbox((-30_000, -20_000, 50_000, 40_000), "EPSG:3413", resolution=100)
    ((west, south, east, north),) = grid.geographic_boxes(around)
    assert (west, east, north) == (-180, 180, 90)
    assert south == pytest.approx(90 - np.hypot(50, 40) / 111.7 / 0.97, abs=0.02)
    on_edge = GeoBox.from_bbox((0, -20_000, 50_000, 40_000), "EPSG:3413", resolution=100)
    assert grid.geographic_boxes(on_edge)[0][::3] == (-180, 90)


def test_the_area_of_a_polar_cap_with_a_hole_stays():
    cap = shapely.Point(0, 0).buffer(1_500_000, quad_segs=64)
    ring = cap - shapely.Point(0, 0).buffer(500_000, quad_segs=64)
    for shape in (cap, ring, cap - shapely.Point(900_000, 0).buffer(100_000)):
        (found,) = grid.geographic(gpd.GeoSeries([shape], crs="EPSG:6932"))
        assert found.is_valid
        # Equal-area plane; longitude and latitude on the ellipsoid.
        area = sum(
            abs(GEOD.geometry_area_perimeter(part)[0])
            for part in shapely.get_parts(shapely.segmentize(found, 1.0))
        )
        assert area == pytest.approx(shape.area, rel=2e-3)


def test_rows_keep_their_index():
    frame = gpd.GeoDataFrame(
        geometry=[shapely.box(0, 0, 1, 1), shapely.box(179, 0, 181, 1)], index=[7, 3], crs=4326
    )
    out = grid.geographic(frame)
    assert out.index.tolist() == [7, 3]
    np.testing.assert_allclose(out.area, [1, 2])


def test_coordinates_that_no_crs_explains_are_refused():
    wrong = gpd.GeoSeries([shapely.box(10, 46, 1e20, 1e20)], crs=32632)
    with pytest.raises(GridError, match="no place in longitude and latitude: .* UTM zone 32"):
        grid.geographic(wrong)


# Footprints


CROSSING = [
    shapely.box(179.2, -17, 180.3, -16),
    shapely.box(-180.8, -17, -179.7, -16),
    shapely.MultiPolygon([shapely.box(179.2, -17, 180, -16), shapely.box(-180, -17, -179.7, -16)]),
    shapely.Polygon([(179.2, -17.01), (-179.7, -17), (-179.7, -16), (179.2, -16.01)]),
    shapely.geometry.mapping(shapely.box(179.2, -17, 180.3, -16)),
]


@pytest.mark.parametrize("footprint", CROSSING)
def test_footprints_over_the_antimeridian_however_written(footprint):
    for area in (
        (179.5, -16.5, 179.6, -16.4),
        (-179.9, -16.5, -179.8, -16.4),
        (179.9, -18, -179.9, -15),
        (180.1, -16.5, 180.2, -16.4),
        shapely.Point(180, -16.5),
        shapely.Point(-180, -16.5),
        grid.grid_around((-179.9, -16.5, -179.8, -16.4), 100),
    ):
        assert grid.touches(footprint, area)
    for area in ((0, -17, 1, -16), (178, -17, 179, -16), (-179.5, -17, 179, -16)):
        assert not grid.touches(footprint, area)


def test_both_sides_of_the_antimeridian_touch():
    assert grid.touches(shapely.box(179, 0, 180, 1), (-180, 0, -179, 1))
    assert not grid.touches(shapely.box(179, 0, 179.9, 1), (-180, 0, -179, 1))


def test_no_footprints():
    assert grid.touching([], (0, 0, 1, 1)).shape == (0,)


def test_a_scene_over_the_pole_touches_what_lies_there():
    """Its four corners say only that it goes around the pole."""
    scene = shapely.Polygon([(20, 86), (110, 86.2), (-160, 86.1), (-70, 86.3)])
    for longitude in (-135, 0, 45, 170):
        assert grid.touches(scene, (longitude, 88.5, longitude + 1, 89))
        assert not grid.touches(scene, (longitude, 84, longitude + 1, 84.5))


def test_a_straight_edge_on_the_ground_bulges_poleward_in_degrees():
    """A scene's edge from (-20, 78) to (20, 78) passes north of 79 degrees at longitude 0."""
    scene = shapely.Polygon([(-20, 78.01), (20, 78), (18, 75), (-18, 75)])
    (way,) = [GEOD.npts(-20, 78, 20, 78, 1)]
    assert way[0][1] > 78.6
    assert grid.touches(scene, (-0.1, 78.4, 0.1, 78.5))
    assert not grid.touches(scene, (-0.1, 79.4, 0.1, 79.5))


def test_areas_of_many_outlines():
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-175, 175, 500), rng.uniform(-80, 80, 500)
    frame = gpd.GeoSeries(shapely.box(x, y, x + 0.1, y + 0.1), crs=4326)
    fx, fy = rng.uniform(-180, 178, 400), rng.uniform(-55, 55, 400)
    scenes = shapely.box(fx, fy, fx + 1, fy + 1)
    expected = np.array([frame.intersects(scene).any() for scene in scenes])
    np.testing.assert_array_equal(grid.touching(list(scenes), frame), expected)
    assert 0 < expected.sum() < 400


def items(folder):
    for path in sorted(folder.rglob("*.json")):
        document = json.loads(path.read_text())
        if document.get("type") == "Feature" and document.get("geometry"):
            yield path.name, document


def test_real_scenes_touch_their_own_grid_and_no_other(real_data):
    """Each document's footprint meets the grid that its `proj:` fields state, if it states one."""
    checked = 0
    for name, document in items(real_data("stac-items")):
        geobox = stated_grid(document)
        if geobox is None or str(geobox.crs) == "EPSG:3271":  # a provider's slip for 32701
            continue
        assert grid.touches(document["geometry"], geobox), name
        boxes = grid.geographic_boxes(geobox)
        assert sum(east - west for west, _, east, _ in boxes) < 40, name
        opposite = (boxes[0][0] + 180 + 180) % 360 - 180
        assert not grid.touches(document["geometry"], shapely.Point(opposite, -boxes[0][1])), name
        checked += 1
    assert checked > 60


def stated_grid(document):
    """Return the grid of a document's first asset that states one."""
    stated = [document["properties"], *document["assets"].values()]
    codes = [code for one in stated if (code := one.get("proj:code") or one.get("proj:epsg"))]
    places = [one for one in stated if one.get("proj:shape") and one.get("proj:transform")]
    if not codes or not places:
        return None
    code = codes[0] if str(codes[0]).startswith("EPSG") else f"EPSG:{codes[0]}"
    corner = Affine(*places[0]["proj:transform"][:6])
    return GeoBox(tuple(places[0]["proj:shape"]), corner, code)


@pytest.mark.parametrize(
    ("scene", "near", "far"),
    [
        ("T01LAC", (-179.9, -15.8), (-179.5, -15.8)),
        ("T01LAC", (179.5, -15.8), (179.0, -15.8)),
        ("T01WCP_20230626T022157", (-179.5, 66.2), (-178.5, 66.2)),
        ("T60CWS", (-179.5, -80.1), (-177.5, -80.1)),
        ("T60CWS", (177.5, -79.5), (176.5, -79.5)),
        ("T01CCV", (177.4, -72.5), (179.5, -72.5)),
        ("LC08_L2SR_084024", (179.99, 52.0), (170.0, 52.0)),
        ("LC08_L2SR_084024", (-179.0, 51.5), (0.0, 51.5)),
        ("LT05_L2SR_087017", (179.95, 60.96), (179.5, 60.96)),
        ("Copernicus_DSM_COG_10_S90_00_W180", (179.9995, -89.5), (-178.5, -89.5)),
    ],
)
def test_real_scenes_at_the_antimeridian(real_data, scene, near, far):
    (document,) = [one for name, one in items(real_data("stac-items")) if scene in name][:1]
    assert grid.touches(document["geometry"], shapely.Point(near))
    assert not grid.touches(document["geometry"], shapely.Point(far))
