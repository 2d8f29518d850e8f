"""Declared against observed offsets."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from acquire.scenery import write_raster
from glaciercube.acquire.offsets import Scene, look, require_check, settle
from glaciercube.errors import AcquireError, GlacierCubeWarning, SensorError
from glaciercube.sensors import SENTINEL_2_L2A

DARK, SHIFTED, BRIGHT = 60, 1060, 4000


@pytest.fixture
def scene(tmp_path):
    """Return a function that makes a scene of one dark band."""

    def make(number, declared, date="2022-01-01"):
        path = tmp_path / f"{number}.tif"
        if not path.exists():
            numbers = number + np.arange(900, dtype=np.uint16).reshape(30, 30)
            write_raster(path, numbers if number else np.zeros((30, 30), np.uint16), 10)
        return Scene(
            name=f"scene-{number}", date=date, declared=declared, dark={"swir22": (str(path), 1)}
        )

    return make


@pytest.mark.parametrize(
    ("number", "declared", "used"),
    [
        (DARK, None, {"pixels": 0, "metadata": 0}),
        (SHIFTED, None, {"pixels": -1000, "metadata": 0}),
        (DARK, 0, {"pixels": 0, "metadata": 0}),
        (SHIFTED, -1000, {"pixels": -1000, "metadata": -1000}),
        (DARK, -1000, {"pixels": 0, "metadata": -1000}),
        (SHIFTED, 0, {"pixels": -1000, "metadata": 0}),
        (BRIGHT, -1000, {"pixels": -1000, "metadata": -1000}),
        (BRIGHT, None, {"pixels": 0, "metadata": 0}),
    ],
)
def test_who_is_trusted(scene, number, declared, used):
    one = scene(number, declared)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GlacierCubeWarning)
        assert settle([one], SENTINEL_2_L2A, "trust-pixels")[0].used == used["pixels"]
        assert settle([one], SENTINEL_2_L2A, "trust-metadata")[0].used == used["metadata"]
        assert settle([one], SENTINEL_2_L2A, False)[0].used == used["metadata"]


@pytest.mark.parametrize(
    ("number", "declared"), [(DARK, None), (DARK, 0), (SHIFTED, -1000), (BRIGHT, 0)]
)
def test_nothing_is_said_where_nothing_is_wrong(scene, number, declared):
    with warnings.catch_warnings():
        warnings.simplefilter("error", GlacierCubeWarning)
        settle([scene(number, declared)], SENTINEL_2_L2A, "warn")
        settle([scene(number, declared)], SENTINEL_2_L2A, "raise")


def test_one_warning_lists_all_scenes(scene):
    scenes = [
        scene(DARK, None, "2019-01-01"),
        scene(SHIFTED, None, "2022-01-01"),
        scene(SHIFTED, None, "2023-01-01"),
        scene(DARK, -1000, "2024-01-01"),
        scene(BRIGHT, None, "2025-01-01"),
    ]
    with pytest.warns(GlacierCubeWarning) as caught:
        settled = settle(scenes, SENTINEL_2_L2A, "warn")
    assert [one.used for one in settled] == [0, -1000, -1000, 0, 0]
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "2 of 5 scenes carry the +1000 shift" in text
    assert "2022-01-01 (declared None, pixels -1000, darkest 1069), 2023-01-01" in text
    assert "1 of 5 scenes contradict the offset their metadata declare: 2024-01-01" in text
    assert "1 of 5 scenes neither declare an offset nor hold a dark surface" in text
    assert "2019-01-01" not in text


@pytest.mark.parametrize(("number", "declared"), [(SHIFTED, None), (SHIFTED, 0), (DARK, -1000)])
def test_raise_stops(scene, number, declared):
    with pytest.raises(SensorError, match=rf"2022-01-01 \(declared {declared}, .*trust-pixels"):
        settle([scene(number, declared)], SENTINEL_2_L2A, "raise")


def test_the_record_says_everything(scene):
    (one,) = settle([scene(SHIFTED, -1000)], SENTINEL_2_L2A)
    assert one.record() == {
        "offset_used": -1000, "offset_declared": -1000, "offset_observed": -1000, "floor": 1069.0,
    }  # fmt: skip


@pytest.mark.parametrize("check", ["warn", "raise", "trust-pixels", "trust-metadata"])
def test_a_scene_without_a_measured_pixel_is_refused(scene, check):
    with pytest.raises(
        AcquireError, match=r"scene-0 \(2022-01-01\) is nodata everywhere in \['swir22'\]"
    ):
        settle([scene(SHIFTED, -1000), scene(0, -1000)], SENTINEL_2_L2A, check)


def test_false_reads_nothing(tmp_path):
    absent = Scene(name="a", date="b", declared=-1000, dark={"swir22": (str(tmp_path / "no"), 1)})
    (one,) = settle([absent], SENTINEL_2_L2A, False)
    assert (one.used, one.observed, one.floor) == (-1000, None, None)


def test_a_sensor_without_an_offset_rule_is_not_suspected(scene):
    with warnings.catch_warnings():
        warnings.simplefilter("error", GlacierCubeWarning)
        (one,) = settle([scene(SHIFTED, 0)], replace(SENTINEL_2_L2A, rule="fixed"), "raise")
    assert (one.used, one.observed) == (0, None)


def test_the_darkest_band_decides(scene):
    both = Scene(
        name="a", date="b", declared=None,
        dark={**scene(BRIGHT, None).dark, "cirrus": scene(SHIFTED, None).dark["swir22"]},
    )  # fmt: skip
    assert look(both, 0).offset == -1000


@pytest.mark.parametrize("bad", ["strict", True, 0, None])
def test_an_unknown_check_is_refused(bad):
    with pytest.raises(SensorError, match=f"check is one of .*, found {bad!r}"):
        require_check(bad)
