"""What a search has found, as a person reads it."""

import copy
import pickle

import pystac
import pytest
import shapely
from shapely.geometry import mapping

from glaciercube.acquire.findings import SHOWN, Found
from glaciercube.acquire.items import single

SQUARE = shapely.box(10, 46, 11, 47)


def scene(name, day=5, **properties):
    return pystac.Item(
        name, mapping(SQUARE), list(SQUARE.bounds),
        pystac.utils.str_to_datetime(f"2022-08-{day:02d}T10:30:00Z"),
        {"platform": "Sentinel-2A", "s2:mgrs_tile": "32TMS", **properties},
        collection="sentinel-2-l2a",
    )  # fmt: skip


@pytest.fixture
def found():
    old = scene("old", **{"s2:processing_baseline": "02.14"})
    new = scene("new & better", **{"s2:processing_baseline": "05.10", "eo:cloud_cover": 12.6})
    kept, dropped = single([old, new, scene("later", 7)])
    return Found(kept, dropped=dropped, steps=[("in the catalogue", 4), ("in 2022", 3)])


def test_it_is_the_list_of_items(found):
    assert isinstance(found, list)
    assert [item.id for item in found] == ["new & better", "later"]
    assert type(found[:1]) is list


def test_it_is_shown_as_a_table_with_what_was_left_out(found):
    assert repr(found) == (
        "2 scenes (4 in the catalogue, 3 in 2022; 1 repeated and left out)\n"
        "time (UTC)        platform     tile   cloud (%)  item\n"
        "2022-08-05 10:30  sentinel-2a  32TMS  13         new & better\n"
        "2022-08-07 10:30  sentinel-2a  32TMS             later\n"
        "left out: old for new & better: processing baseline 02.14, kept 05.10"
    )


def test_it_is_shown_in_a_notebook(found):
    shown = found._repr_html_()
    assert "<td>new &amp; better</td>" in shown
    assert "left out: old for new &amp; better" in shown
    assert shown.count("<tr>") == 3


def test_long_ones_are_cut():
    items = [scene(f"s{number:03d}") for number in range(SHOWN + 5)]
    assert repr(Found(items)).splitlines()[0] == f"{SHOWN + 5} scenes"
    assert repr(Found(items)).splitlines()[-1] == "... and 5 more"
    dropped = single([scene("s") for _ in range(SHOWN + 5)])[1]
    assert repr(Found(dropped=dropped)).splitlines()[-1] == "... and 4 more left out"
    assert repr(Found()) == "0 scenes"


def test_copies_keep_what_was_left_out(found):
    for other in (copy.copy(found), pickle.loads(pickle.dumps(found))):
        assert isinstance(other, Found)
        assert repr(other) == repr(found)
