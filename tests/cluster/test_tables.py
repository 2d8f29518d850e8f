"""The tiles of a plan: every glacier once and whole, everything on the lattice of blocks."""

import geopandas as gpd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import features

from cluster import synthetic
from cluster.rounds import glaciers, options
from glaciercube import grid
from glaciercube.acquire.wanted import wanted_of
from glaciercube.cluster import tables
from glaciercube.cluster.outline_sources import checked, digests_of
from glaciercube.cluster.tiling import geobox_of
from glaciercube.windows import Window

EDGES = ["block_top", "block_bottom", "block_left", "block_right"]
PLACES = st.tuples(
    st.one_of(st.floats(-180, 180), st.floats(179, 181), st.floats(11.9, 12.1)),
    st.one_of(st.floats(-89.9, 89.9), st.floats(46, 47), st.sampled_from([84, -80, 90, -90])),
    st.sampled_from([80, 1500, 6000, 40_000]),
)


def tiles_of(frame, job):
    return tables.tiles_of(frame, digests_of(frame), job)


def grid_of(row, job):
    span = row[EDGES].to_numpy(int)
    return geobox_of(row["crs"], span, job["block"], float(job["resolution"]))


def core_in(row):
    return Window(*(int(row[f"core_{edge}"]) for edge in ("y0", "y1", "x0", "x1")))


def require_sound(frame, tiles, job):
    """Assert all that a plan promises of its tiles."""
    ids = [one for row in tiles["glaciers"] for one in row]
    assert sorted(ids) == list(frame["rgi_id"])
    assert tiles["name"].is_unique
    assert tiles["glacier_count"].tolist() == [len(row) for row in tiles["glaciers"]]
    exact = grid.geographic(frame).set_axis(frame["rgi_id"])
    for _, row in tiles.iterrows():
        geobox, core = grid_of(row, job), core_in(row)
        assert grid.snapped(geobox, job["block"]) == geobox
        assert all(size % job["block"] == 0 for size in geobox.shape)
        assert min(core.y0, core.x0) >= job["halo"]
        assert core.y1 + job["halo"] <= geobox.shape.y
        assert core.x1 + job["halo"] <= geobox.shape.x
        shapes = gpd.GeoSeries(
            shapely.segmentize(exact[row["glaciers"]].to_numpy(), 0.01), crs=4326
        )
        buffered = shapely.buffer(shapes.to_crs(row["crs"]).to_numpy(), job["buffer_m"])
        assert geobox[core.slices].extent.geom.covers(shapely.box(*shapely.total_bounds(buffered)))
        assert 0 < row["useful"] <= (core.y1 - core.y0) * (core.x1 - core.x0)
        blocks = geobox.shape.y * geobox.shape.x // job["block"] ** 2
        assert 1 <= row["blocks"] <= blocks
        if row["useful"] > job["target_pixels"]:
            assert row["glacier_count"] == 1
    assert tiles.crs == "EPSG:4326"
    west, south, east, north = tiles.total_bounds
    assert west >= -180
    assert east <= 180
    assert south >= -90
    assert north <= 90


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(places=st.lists(PLACES, min_size=1, max_size=12))
def test_any_glaciers_anywhere(places):
    frame, job = glaciers(*places), options()
    frame = checked(frame, "they")
    require_sound(frame, tiles_of(frame, job), job)


@pytest.mark.parametrize(
    "places",
    [
        [(180, 66, 6000), (179.9, 66, 1500), (-179.9, 66, 1500)],
        [(0, 90, 40_000), (120, 89.9, 80)],
        [(0, -90, 40_000), (30, -80, 1500)],
        [(10, 46, 80)] * 5,
        [(10, 46, 150_000), (10, 46, 80), (12, 46, 1500)],
    ],
    ids=["antimeridian", "north pole", "south pole", "one place", "larger than a tile"],
)
def test_glaciers_where_it_is_hard(places):
    frame, job = checked(glaciers(*places), "they"), options()
    require_sound(frame, tiles_of(frame, job), job)


@pytest.mark.parametrize("region", ["11-01", "10-06"])
def test_a_made_up_region(region):
    frame = checked(synthetic.world(300, seed=3, regions=region), "they")
    job = options(resolution=30, block=256, target_pixels=1_000_000, halo=15)
    tiles = tiles_of(frame, job)
    require_sound(frame, tiles, job)
    assert tiles["core_hours"].is_monotonic_decreasing


def test_order_does_not_matter():
    frame = synthetic.world(200, regions="11-01")
    first, other = (checked(one, "they") for one in (frame, frame.sample(frac=1, random_state=1)))
    one, two = tiles_of(first, options()), tiles_of(other, options())
    assert tables.digest(one) == tables.digest(two)
    assert one.drop(columns="geometry").equals(two.drop(columns="geometry"))


def test_neighbours_share_pixels_exactly():
    frame = checked(synthetic.world(1000, regions="11-01"), "they")
    job = options(resolution=30, block=128, target_pixels=100_000)
    tiles = tiles_of(frame, job)
    shared = 0
    for _, same in tiles.groupby("crs"):
        boxes = [grid_of(row, job) for _, row in same.iterrows()]
        for number, one in enumerate(boxes):
            for other in boxes[:number]:
                x, y = ~one.affine * (other.affine.c, other.affine.f)
                assert (x, y) == (round(x), round(y))
                assert x % job["block"] == y % job["block"] == 0
                both = one.boundingbox & other.boundingbox
                if both.span_x > 0 and both.span_y > 0:
                    shared += 1
                    assert _part(one, both) == _part(other, both)
    assert shared > 5


def _part(geobox, box):
    x0, y0 = ~geobox.affine * (box.left, box.top)
    x1, y1 = ~geobox.affine * (box.right, box.bottom)
    return geobox[round(y0) : round(y1), round(x0) : round(x1)]


def test_useful_pixels_are_those_of_a_raster():
    frame = checked(synthetic.world(150, seed=1, regions="11-01"), "they")
    job = options(resolution=20, block=512, target_pixels=2_000_000)
    tiles = tiles_of(frame, job)
    for _, row in tiles.iterrows():
        geobox = grid_of(row, job)
        own = frame[frame["rgi_id"].isin(row["glaciers"])].to_crs(row["crs"])
        burnt = features.rasterize(
            own.geometry.buffer(job["buffer_m"]), tuple(geobox.shape), transform=geobox.affine
        )
        assert row["useful"] == pytest.approx(int(burnt.sum()), rel=0.01)


def test_a_glacier_larger_than_a_tile_has_its_own():
    frame = glaciers((10, 46, 30_000), (10.1, 46.1, 200), (10.2, 46, 200))
    tiles = tiles_of(frame, options())
    assert [["G0"], ["G1", "G2"]] == tiles["glaciers"].tolist()
    assert tiles["useful"][0] > options()["target_pixels"] > tiles["useful"][1]
    same = glaciers((10, 46, 30_000), (10, 46, 200))
    names = tiles_of(same, options(halo=0))["name"]
    assert names.is_unique


def test_tiles_of_one_corner_have_names_of_their_own():
    job = options(target_pixels=100)
    tiles = tiles_of(glaciers(*[(10.4 + n / 1000, 46.4, 300) for n in range(4)]), job)
    assert len(tiles) == 4
    assert len(set(tiles["name"])) == 4
    assert tiles["name"].str.fullmatch(r"utm32n-[ew]\d{4}-[ns]\d{4}(-\d)?").all()


def test_only_blocks_near_glaciers_count_and_surroundings_want_them():
    frame = glaciers((9, 46.0, 400), (9.5, 46.3, 400))
    job = options(resolution=10, block=256, target_pixels=10**7, halo=15)
    tiles = tiles_of(frame, job)
    (row,) = (one for _, one in tiles.iterrows())
    geobox = grid_of(row, job)
    around = tables.surroundings(frame, row["crs"], job)
    assert list(around["rgi_id"]) == ["G0", "G1"]
    wanted = wanted_of(around, geobox, job["block"])
    rows, columns = (size // job["block"] for size in geobox.shape)
    bits = [wanted.has(y * 256, x * 256) for y in range(rows) for x in range(columns)]
    assert sum(bits) == row["blocks"] < rows * columns / 4


def test_surroundings_hold_the_square_halo_of_the_buffer():
    frame, job = glaciers((9, 46, 2000)), options(halo=20)
    shape = tables.surroundings(frame, "EPSG:32632", job).geometry[0]
    buffered = frame.to_crs(32632).geometry[0].buffer(job["buffer_m"])
    for dx, dy in ((2000, 2000), (2000, -2000), (-2000, 0)):
        # Polygons for circles are half a percent narrower.
        assert shapely.affinity.translate(buffered, dx, dy).difference(shape).area < 2e5


def test_footprints_at_the_antimeridian_have_two_parts():
    tiles = tiles_of(glaciers((180, 66.5, 3000)), options(block=32, halo=0))
    assert tiles.geom_type.tolist() == ["MultiPolygon"]
    west, east = sorted(shapely.get_parts(tiles.geometry[0]), key=lambda part: part.bounds[0])
    assert west.bounds[0] == -180
    assert east.bounds[2] == 180


def test_digests_are_by_glacier():
    frame = glaciers((9, 46, 400), (60, 46, 400))
    tiles = tiles_of(frame, options())
    assert tables.digests(tiles) == dict(zip(frame["rgi_id"], digests_of(frame), strict=True))


def test_the_digest_tells_what_a_job_takes():
    tiles = tiles_of(glaciers((9, 46, 400), (60, 46, 400)), options())
    first = tables.digest(tiles)
    assert tables.digest(tiles.assign(geometry=tiles.geometry[::-1].to_numpy())) == first
    assert tables.digest(tiles.assign(core_x1=tiles["core_x1"] + 1)) != first
    assert tables.digest(tiles.assign(glaciers=tiles["glaciers"][::-1].to_numpy())) != first


def test_every_column_is_explained():
    tiles = tiles_of(glaciers((9, 46, 400)), options())
    assert [*tables.COLUMNS, "geometry"] == list(tiles.columns)
