"""An explanation as lines and as plain objects."""

import json
from dataclasses import replace

from glaciercube.acquire.reports import MANY, Explanation

ONE = Explanation(
    sensors={"landsat-oli-c2-l2": 2, "landsat-tm-c2-l2": 1},
    providers={"planetary-computer": 3},
    access={"x.blob.core.windows.net": "a token"},
    given=5,
    used=3,
    outside=["far"],
    duplicates=[{"item": "old", "kept": "new", "reason": "tier T2, kept T1"}],
    days=["2021-07-01", "2022-07-01", "2022-08-01"],
    most_items=1,
    grid="EPSG:32632, 30 x 30, 10 rows x 20 columns from (0, 300)",
    shape=(10, 20),
    chunk=16,
    blocks=(1, 2),
    chunks=6,
    empty_chunks=1,
    bands=["green", "nir08"],
    lacking={"new": ["swir22"]},
    quality={"qa_pixel": 3},
    flags=["cloud", "snow"],
    offsets={"-7272.73 DN (sensor table)": 3},
    crs={"EPSG:32632": 2, "EPSG:32633": 1},
    without_raster=1,
    cloud_cover={"least": 1.2, "median": 30.0, "most": 80.0, "stated": 2},
    bytes_memory=6000,
    bytes_disk=3000,
    bytes_read=10_000,
    bytes_read_compressed=None,
    notes=["simulated"],
)


def test_it_is_read_as_lines():
    assert str(ONE).splitlines() == [
        "sensors       landsat-oli-c2-l2: 2, landsat-tm-c2-l2: 1",
        "items         5 given, 3 used, 1 repeated, 1 outside",
        "times         3 (2021-07-01 to 2022-08-01), of at most 1 item each",
        "cloud cover   1 to 80 %, median 30 %, of 2 of 3 scenes",
        "grid          EPSG:32632, 30 x 30, 10 rows x 20 columns from (0, 300)",
        "chunks        6 (times x 1 x 2 blocks of 16 x 16), 1 of them empty",
        "CRS of items  EPSG:32632: 2, EPSG:32633: 1; each item is warped to the grid",
        "rasters       1 items do not state theirs (proj:shape, proj:transform): "
        "their footprints count",
        "bands         green, nir08",
        "              new lacks swir22",
        "quality       qa_pixel: 3; flags cloud, snow",
        "offsets       -7272.73 DN (sensor table): 3",
        "in memory     5.86 kiB in all, chunk by chunk",
        "on disk       2.93 kiB before compression",
        "to be read    about 9.77 kiB before compression, compressed by an unknown factor",
        "providers     planetary-computer: 3",
        "              x.blob.core.windows.net: a token",
        "repeated      old for new: tier T2, kept T1",
        "outside       far",
        "note          simulated",
    ]


def test_little_is_told_in_few_lines():
    little = replace(
        ONE, outside=[], duplicates=[], days=["2021-07-01"], most_items=2, lacking={}, quality={},
        flags=[], without_raster=0, cloud_cover={"stated": 0}, bytes_read_compressed=2048, notes=[],
        crs={"EPSG:32632": 3},
    )  # fmt: skip
    text = str(little)
    assert "times         1 (2021-07-01), of at most 2 items each" in text
    assert "cloud cover   not stated" in text
    assert "quality       none\n" in text
    assert "2.00 kiB as the sizes of the files tell" in text
    assert "rasters" not in text
    assert "warped" not in text


def test_long_lists_are_cut():
    names = [f"s{number}" for number in range(MANY + 3)]
    repeated = [{"item": name, "kept": "x", "reason": "r"} for name in names]
    text = str(
        replace(
            ONE, outside=names, duplicates=repeated, notes=names, lacking=dict.fromkeys(names, "b")
        )
    )
    assert "s4 and 3 more" in text
    assert "and 3 more notes" in text
    assert "and 3 more items lack some" in text
    assert text.count(" for x: r") == MANY


def test_it_is_plain_objects_too():
    told = json.loads(json.dumps(ONE.as_dict()))
    assert told["empty_chunks"] == 1
    assert told["duplicates"][0]["kept"] == "new"


def test_it_is_shown_in_a_notebook():
    shown = replace(ONE, notes=["a < b"])._repr_html_()
    assert shown.startswith("<table>")
    assert "a &lt; b" in shown
