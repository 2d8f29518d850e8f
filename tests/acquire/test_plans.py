"""What is to be read for each time of a cube."""

from datetime import datetime

import cloudpickle
import numpy as np
import pystac
import pytest
import shapely
from odc.geo.geobox import GeoBox

from acquire.scenery import SCENES, geobox, make_catalog
from glaciercube import grid
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.items import sensors_of_items
from glaciercube.acquire.offsets import Settled
from glaciercube.acquire.plans import (
    Entry,
    group_of,
    identities,
    moments_of,
    names_of,
    orbit_of,
    quality_of,
    raster_box,
    reach_of,
    solar_day,
)
from glaciercube.errors import SensorError
from glaciercube.sensors import SENSORS


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Return the items of the tiny catalogue."""
    catalog = make_catalog(tmp_path_factory.mktemp("plans"), SCENES)
    return search(catalog, period="2021/2022")


def entries_of(items, names):
    """Return entries of all items, offsets as if settled."""
    return [
        Entry(
            item=item,
            sensor=row,
            group=group_of(item, row, 10.0),
            keys=tuple(next(k for k in row.band(n).keys if k in item.assets) for n in names),
            quality=quality_of(item, row),
            settled=Settled(used=-1000.0, declared=-1000, observed=None, floor=None),
        )
        for item, row in zip(items, sensors_of_items(items), strict=True)
    ]


def radar_item(name="S1A_1", state="ascending", orbit=88):
    properties = {"sat:orbit_state": state, "sat:relative_orbit": orbit}
    return pystac.Item(name, None, [8, 46, 9, 47], datetime(2021, 8, 1, 17, 0), properties)


@pytest.mark.parametrize(
    ("hour", "longitude", "day"), [(23, 150, 2), (23, 5, 1), (1, -150, 31), (1, 10, 1)]
)
def test_days_are_the_suns(hour, longitude, day):
    assert solar_day(datetime(2021, 8, 1, hour, 30), longitude).day == day


def test_orbits_of_radar_are_times_of_their_own():
    row = SENSORS["sentinel-1-rtc"]
    first, second = radar_item(), radar_item(state="descending", orbit=66)
    assert group_of(first, row, 8.0) == ("2021-08-01", "ascending", 88)
    assert group_of(first, row, 8.0) != group_of(second, row, 8.0)
    assert orbit_of(pystac.Item("x", None, None, datetime(2021, 8, 1), {})) == ("unknown", -1)


def test_items_of_a_day_share_a_moment_and_keep_their_order(items):
    names = ["green", "swir16"]
    moments = moments_of(entries_of(items, names), names, geobox())
    assert [len(moment.pieces) for moment in moments.values()] == [2, 1]
    first = next(iter(moments.values()))
    assert [piece.item for piece in first.pieces] == ["old", "new"]
    assert [source.key for source in first.pieces[1].sources] == ["B03", "B11", "SCL"]
    assert first.pieces[0].conversion.offsets == (-1000.0, -1000.0)
    assert len(first.pieces[0].conversion.layers) == 1


@pytest.mark.parametrize(
    ("step", "how"), [(10, ["bilinear", "bilinear"]), (20, ["average", "bilinear"])]
)
def test_only_grids_coarser_than_a_band_take_the_mean(items, step, how):
    names = ["green", "swir16"]
    coarse = GeoBox.from_bbox(geobox().boundingbox, "EPSG:32632", resolution=step)
    (piece,) = list(moments_of(entries_of(items, names), names, coarse).values())[1].pieces
    assert [source.resampling for source in piece.sources] == [*how, "nearest"]


def test_a_moment_is_small_and_plain(items):
    names = list(SENSORS["sentinel-2-l2a"].names)
    moments = moments_of(entries_of(items, names), names, geobox())
    assert all(len(cloudpickle.dumps(moment)) < 8_000 for moment in moments.values())


def test_bands_are_those_that_all_items_have(items):
    rows = sensors_of_items(items)
    assert names_of(items, rows, None) == list(rows[0].names)
    assert names_of(items, rows, ["nir", "green", "nir"]) == ["nir", "green"]
    with pytest.raises(SensorError, match="sentinel-2-l2a has no band 'thermal'"):
        names_of(items, rows, ["thermal"])
    with pytest.raises(SensorError, match=r"each item needs the bands \['coastal'\], 3 of 3 lack"):
        names_of(items, rows, ["coastal"])


def test_instruments_of_one_family_share_bands():
    pair = []
    for name, keys in (("LE07_L2SP_1", range(1, 8)), ("LC08_L2SP_1", range(1, 8))):
        item = pystac.Item(name, None, None, datetime(2021, 8, 1), {}, collection="landsat-c2l2-sr")
        for key in keys:
            item.add_asset(f"SR_B{key}.TIF", pystac.Asset("a.tif"))
        pair.append(item)
    rows = sensors_of_items(pair)
    assert names_of(pair, rows, None) == ["blue", "green", "red", "nir08", "swir16", "swir22"]
    found = entries_of(pair, ["nir08"])
    assert [entry.keys for entry in found] == [("SR_B4.TIF",), ("SR_B5.TIF",)]


def test_the_raster_tells_what_an_item_may_cover(items):
    reach = reach_of(items[0], "green", geobox())
    assert shapely.box(0, 0, 64, 64).difference(reach).area == 0
    assert reach.difference(shapely.box(-1.1, -1.1, 65.1, 65.1)).area == 0
    assert raster_box(items[0], "green") == geobox()


def test_without_a_raster_the_footprint_counts_with_a_margin(items):
    bare = items[0].clone()
    bare.assets["green"].extra_fields = {}
    assert raster_box(bare, "green") is None
    reach = reach_of(bare, "green", geobox())
    assert shapely.box(0, 0, 64, 64).difference(reach).area == 0
    assert reach.area < 1.3 * 64 * 64


def test_a_reach_survives_another_crs_and_the_antimeridian(items):
    polar = GeoBox.from_bbox((-10_000, -10_000, 10_000, 10_000), "EPSG:3413", resolution=1000)
    everywhere = pystac.Item(
        "all", None, [-180, 60, 180, 90], datetime(2021, 8, 1), {}, assets={"a": pystac.Asset("a")}
    )
    reach = reach_of(everywhere, "a", polar)
    assert reach.intersects(shapely.box(0, 0, 20, 20))
    across = GeoBox.from_bbox(
        (300_000, 8_190_000, 310_000, 8_200_000), "EPSG:32701", resolution=100
    )
    here = grid.area_frame(across).to_crs(grid.WGS84).geometry.iloc[0]
    item = pystac.Item("here", here.__geo_interface__, list(here.bounds), datetime(2021, 8, 1), {})
    item.add_asset("a", pystac.Asset("a"))
    missing = shapely.box(0, 0, 100, 100).difference(reach_of(item, "a", across)).area
    assert missing == 0


def test_identities_change_with_items_and_decisions(items):
    entries = entries_of(items, ["green"])
    assert identities(entries) == identities(entries_of(items, ["green"]))
    assert identities(entries) != identities(entries[:1])
    assert identities(entries) != identities(entries_of(items, ["nir"]))
    assert np.all([entry.group for entry in entries] == [one[0] for one in identities(entries)])
