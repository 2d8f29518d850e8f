"""What an explanation says is what `load` makes; nothing is read for it."""

import json
import socket

import pystac
import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry import mapping

from acquire.scenery import SCENES, geobox, make_catalog
from glaciercube import grid
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.explanation import explain
from glaciercube.acquire.scenes import load
from glaciercube.errors import AcquireError, GridError, SchemaError, SensorError

SECRET = "sv=2026&sig=abcSECRETxyz"
WORLD = shapely.box(10, 46, 11, 47)
KEYS = ("B02", "B03", "B04", "SCL")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return search(make_catalog(tmp_path_factory.mktemp("tiny"), SCENES))


@pytest.fixture
def nothing_read(monkeypatch):
    """Fail the test if anything opens a raster or a connection."""

    def refuse(*args, **kwargs):
        raise AssertionError("an explanation reads nothing")

    monkeypatch.setattr(rasterio, "open", refuse)
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def scene(name, time="2022-08-05T10:30:00Z", box=WORLD, keys=KEYS, where=None, **properties):
    made = pystac.Item(
        name, mapping(box), list(box.bounds), pystac.utils.str_to_datetime(time),
        {"platform": "sentinel-2a", "s2:mgrs_tile": "32TMS", **properties},
        collection="sentinel-2-l2a",
    )  # fmt: skip
    for key in keys:
        made.add_asset(key, pystac.Asset(f"{where or 'https://x.org/a'}/{name}/{key}.tif"))
    return made


def test_it_says_what_load_makes(found, nothing_read, no_compute):
    with no_compute:
        told = explain(found, geobox(), chunk=24)
    cube = load(found, geobox(), chunk=24, check=False)
    assert told.days == [str(time)[:10] for time in cube.time.values]
    assert told.most_items == 2
    assert list(told.bands) == cube.band.values.tolist()
    assert set(told.flags) == set(cube.data_vars) - {"reflectance", "valid", "read_failed"}
    assert told.bytes_memory == sum(variable.nbytes for variable in cube.data_vars.values())
    assert told.blocks == tuple(len(cube.valid.chunksizes[dim]) for dim in ("y", "x")) == (3, 3)
    assert told.chunks == cube.valid.data.npartitions == 27
    assert told.shape == (cube.sizes["y"], cube.sizes["x"])
    assert told.grid == grid.describe(geobox())
    assert told.empty_chunks == 0


def test_it_counts_items_offsets_and_clouds(found, nothing_read):
    told = explain(found, geobox())
    assert (told.given, told.used, told.outside) == (5, 4, [])
    assert [one["item"] for one in told.duplicates] == ["first"]
    assert told.sensors == {"sentinel-2-l2a": 4}
    assert told.offsets == {
        "-1000 DN (s2:processing_baseline)": 2,
        "+0 DN (earthsearch:boa_offset_applied)": 1,
        "+0 DN (s2:processing_baseline)": 1,
    }
    assert told.cloud_cover == {"least": 30, "median": 55, "most": 80, "stated": 2}
    assert told.crs == {"EPSG:32632": 4}
    assert told.access == {"files of this machine": ""}
    assert told.quality == {"scl": 4}
    # Ten bands of two bytes (four at 10 m, six at 20 m) and a class layer at 20 m, 640 m wide.
    fine, coarse = (640 / 10) ** 2, (640 / 20) ** 2
    share = sum(overlap(item) for item in found)
    assert told.bytes_read == pytest.approx(share * (4 * 2 * fine + 6 * 2 * coarse + coarse), 1e-3)


def overlap(item):
    """Return which share of the grid an item's footprint covers, another way."""
    outline = grid.area_frame(geobox()).to_crs(32632).geometry.iloc[0]
    own = grid.area_frame(shapely.geometry.shape(item.geometry)).to_crs(32632).geometry.iloc[0]
    return own.intersection(outline).area / outline.area


def test_the_grid_is_the_one_that_load_takes(found, nothing_read):
    area = (10.273, 45.148, 10.276, 45.15)
    for options in ({}, {"resolution": 20}, {"crs": "EPSG:3035", "resolution": 30}, {"snap": True}):
        cube = load(found, area, check=False, chunk=16, **options)
        told = explain(found, area, chunk=16, **options)
        assert told.grid == grid.describe(cube.odc.geobox), options
    assert explain(found).grid == grid.describe(load(found, check=False).odc.geobox)


def test_what_is_off_the_grid_is_listed(nothing_read):
    far = scene("far", box=shapely.box(20, 46, 21, 47), **{"s2:mgrs_tile": "34TDS"})
    told = explain([scene("here"), far], (10.1, 46.1, 10.2, 46.2))
    assert (told.used, told.outside) == (1, ["far"])
    with pytest.raises(AcquireError, match="needs items over .* none of the 1 touches it"):
        explain([far], (10.1, 46.1, 10.2, 46.2))


def test_repeated_items_are_told_apart_from_those_search_left_out(found, nothing_read):
    told = explain([*found, found[0]], geobox())
    assert (told.given, told.used) == (5, 4)
    assert told.duplicates == [{"item": "old", "kept": "old", "reason": "the same item twice"}]


@pytest.mark.parametrize(("width", "empty"), [(1.0, 0), (0.5, 8), (0.26, 8), (0.24, 12)])
def test_chunks_that_no_footprint_touches_are_empty(nothing_read, width, empty):
    """Of four by four blocks; the footprint covers the western share of the grid."""
    box = GeoBox.from_bbox((500_000, 5_100_000, 504_000, 5_104_000), "EPSG:32632", resolution=10)
    ring = shapely.box(490_000, 5_090_000, 500_000 + width * 4000 - 1, 5_110_000)
    degrees = grid.densified(grid.area_frame(box).set_geometry([ring])).to_crs(4326).iloc[0]
    told = explain([scene("a", box=degrees)], box, chunk=100)
    assert (told.chunks, told.empty_chunks) == (16, empty)


def test_days_are_the_suns(nothing_read):
    """Half past eleven in the evening in Greenwich is the next day in New Zealand."""
    box = shapely.box(170, -44, 171, -43)
    pair = [
        scene("a", "2022-08-05T22:30:00Z", box),
        scene("b", "2022-08-06T01:30:00Z", box, **{"s2:mgrs_tile": "59GLM"}),
    ]
    assert explain(pair, (170.1, -43.9, 170.2, -43.8)).days == ["2022-08-06"]


def test_orbits_of_radar_are_times_of_their_own(nothing_read):
    pair = []
    for name, state, orbit in (("ASC", "ascending", 1), ("DSC", "descending", 2)):
        one = scene(f"S1B_20161121_12SYJ_{name}", keys=("vv",), **{
            "sat:orbit_state": state, "sat:relative_orbit": orbit, "s2:mgrs_tile": None,
        })  # fmt: skip
        one.collection_id, one.properties["platform"] = "sentinel-1-rtc", "sentinel-1b"
        pair.append(one)
    told = explain(pair, (10.1, 46.1, 10.2, 46.2))
    assert told.days == ["2022-08-05", "2022-08-05"]
    assert told.bytes_memory == told.bytes_disk


def test_mixed_crs_items_without_raster_and_lacking_bands_are_told(nothing_read):
    told = explain(
        [
            scene("a", **{"proj:epsg": 32632}),
            scene("b", "2022-08-06T10:30:00Z", **{"proj:code": "EPSG:32633"}),
            scene("c", "2022-08-07T10:30:00Z", keys=("B03",)),
        ],
        (10.1, 46.1, 10.2, 46.2),
    )
    assert told.crs == {"EPSG:32632": 1, "EPSG:32633": 1, "not stated": 1}
    assert told.without_raster == 3
    assert told.bands == ["green"]
    assert "blue" in told.lacking["c"]
    assert told.quality == {"scl": 2}
    assert told.flags == []
    assert told.offsets == {"not stated": 3}
    text = str(told)
    assert "EPSG:32632: 1, EPSG:32633: 1, not stated: 1; each item is warped to the grid" in text
    assert "3 items do not state theirs" in text


def test_what_reading_needs_is_told_without_credentials(nothing_read):
    hosts = {
        "https://sentinel2l2a01.blob.core.windows.net/a": "a token of the Planetary Computer",
        "s3://sentinel-s2-l2a": "AWS keys: the requester pays",
        "s3://eodata": "keys of Copernicus Data Space",
        "https://landsatlook.usgs.gov": "a login in a browser",
        "s3://sentinel-cogs": "",
    }
    items = []
    for number, where in enumerate(hosts):
        one = scene(f"s{number}", f"2022-08-{number + 1:02d}T10:30:00Z", where=where)
        for asset in one.assets.values():
            asset.href = f"{asset.href}?{SECRET}"
        items.append(one)
    told = explain(items, (10.1, 46.1, 10.2, 46.2))
    needs = list(hosts.values())
    assert len(told.access) == len(needs)
    for need in needs:
        assert any(text.startswith(need) for text in told.access.values())
    shown = [str(told), repr(told), told._repr_html_(), json.dumps(told.as_dict())]
    assert not any("SECRET" in text for text in shown)
    assert "load refuses: items need assets that may be read here" in str(told)


def test_a_password_in_an_address_is_not_shown(nothing_read):
    told = explain([scene("a", where="https://me:abcSECRETxyz@x.org/a")], (10.1, 46.1, 10.2, 46.2))
    assert told.access == {"x.org": ""}
    assert "SECRET" not in str(told) + repr(told)


def test_a_scene_that_cannot_be_converted_is_noted(nothing_read):
    dark = scene(
        "LC08_L1TP_194028_20220805_20220806_02_T1", keys=("green",), **{"view:sun_elevation": -3}
    )
    dark.collection_id = "landsat-c2-l1"
    told = explain([dark], (10.1, 46.1, 10.2, 46.2))
    assert told.offsets == {"refused": 1}
    assert "needs the sun above the horizon" in told.notes[0]


def test_sizes_of_files_tell_what_is_read_where_all_are_stated(nothing_read):
    one = scene("a", keys=("B03", "SCL"))
    area = (10, 46, 10.5, 47)
    assert explain([one], area, resolution=100).bytes_read_compressed is None
    for asset in one.assets.values():
        asset.extra_fields["file:size"] = 1_000_000
    told = explain([one], area, resolution=100)
    assert told.bytes_read_compressed == pytest.approx(
        1_000_000, rel=0.05
    )  # the grid is a little wider


@pytest.mark.filterwarnings("ignore:Could not parse bucket")
def test_real_items_over_the_antimeridian(real_data, nothing_read):
    path = real_data("stac-items") / "stactools-sentinel2" / "S2A_T60CWS_20240109T203651_L2A.json"
    told = explain([pystac.Item.from_file(str(path))], (178, -80, -179.5, -79.9), resolution=20)
    assert told.grid.startswith("EPSG:32760, 20 x 20, 653 rows x 2456 columns")
    assert told.days == ["2024-01-10"]
    assert told.empty_chunks == 0


# What cannot be explained


def test_no_items():
    with pytest.raises(AcquireError, match="an explanation needs at least one item, found none"):
        explain([])


def test_items_of_several_families():
    other = scene("LC08_L2SP_194028_20220805_20220806_02_T1")
    other.collection_id = "landsat-c2-l2"
    with pytest.raises(
        SensorError, match=r"need one sensor, found \['landsat-c2-l2', 'sentinel-2-l2a'\]"
    ):
        explain([scene("a"), other])


def test_no_band_in_common():
    pair = [scene("a", keys=("B03",)), scene("b", "2022-08-06T10:30:00Z", keys=("B04",))]
    with pytest.raises(SensorError, match="the items need a band of sentinel-2-l2a in common"):
        explain(pair)
    with pytest.raises(SensorError, match=r"each item needs the bands \['green'\], 1 of 2 lack"):
        explain(pair, bands=["green"])


def test_an_area_that_is_empty():
    with pytest.raises(GridError, match="the area is empty"):
        explain([scene("a")], shapely.Polygon())


def test_a_chunk_that_is_none():
    with pytest.raises(SchemaError, match="chunk is a number of pixels such as 1024, found 0"):
        explain([scene("a")], chunk=0)
