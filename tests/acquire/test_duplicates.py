"""Which scenes repeat others, and that the order they come in does not matter."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from glaciercube.acquire.duplicates import Facts, repeats, repeats_other

MORNING = datetime(2022, 8, 5, 10, 30, tzinfo=UTC)
SCENE = Facts(
    name="a", collection="sentinel-2-l2a", family="sentinel-2-l2a", platform="sentinel-2a",
    tile="32TMS", time=MORNING, footprint=shapely.box(10, 46, 11, 47),
)  # fmt: skip


def kept(scenes):
    gone = {one.dropped for one in repeats(scenes)}
    return [scene.name for number, scene in enumerate(scenes) if number not in gone]


@pytest.mark.parametrize(
    ("worse", "better", "reason"),
    [
        ({"tier": 1, "baseline": 9.0}, {"tier": 3}, "tier RT, kept T1"),
        ({"baseline": 2.14, "made": "2024"}, {"baseline": 5.1}, "baseline 02.14, kept 05.10"),
        ({}, {"baseline": 5.1}, "baseline not stated, kept 05.10"),
        ({"made": "20200101", "preference": 0}, {"made": "20210101", "preference": -3},
         "processed 20200101, kept 20210101"),
        ({"made": "20210101120000"}, {"made": "20210101120001"},
         "processed 20210101120000, kept 20210101120001"),
        ({}, {"made": "20210101"}, "processed at an unknown time, kept 20210101"),
        ({"preference": -1, "created": "2024"}, {"preference": 0, "collection": "c1"},
         "the same product in sentinel-2-l2a"),
        ({"created": "2023"}, {"created": "2024"}, "the same scene, published earlier"),
    ],
)  # fmt: skip
def test_the_better_version_is_kept_and_the_reason_told(worse, better, reason):
    pair = [replace(SCENE, name="x", **worse), replace(SCENE, name="b", **better)]
    (found,) = repeats(pair)
    assert (found.dropped, found.kept) == (0, 1)
    assert found.reason.endswith(reason)
    assert repeats(pair[::-1])[0].kept == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {"time": MORNING + timedelta(seconds=0.9)}, True),
        ({}, {"time": MORNING + timedelta(seconds=1.1)}, False),
        ({"dated": True, "time": datetime(2022, 8, 5, tzinfo=UTC)}, {}, True),
        ({"dated": True, "time": datetime(2022, 8, 4, tzinfo=UTC)}, {}, False),
        ({"orbit": 22}, {"orbit": 65}, False),
        ({"orbit": 22}, {}, True),
        ({"passes": {"datatake": "A"}}, {"passes": {"datatake": "B"}}, False),
        ({"passes": {"datatake": "A"}},
         {"passes": {"datatake": "A"}, "time": MORNING + timedelta(minutes=9)}, True),
        ({"passes": {"datatake": "A"}}, {"passes": {"orbit": "1"}}, True),
        ({}, {"footprint": shapely.box(10.5, 46, 11.5, 47)}, False),
        ({"part": "p"}, {"part": "p", "footprint": shapely.box(10.5, 46, 11.5, 47)}, True),
        ({"part": "p"}, {"part": "q", "footprint": shapely.box(10.5, 46, 11.5, 47)}, False),
        ({"product": "s"}, {"product": "s", "footprint": shapely.box(10.5, 46, 11.5, 47)}, True),
        ({}, {"footprint": shapely.Point(10, 46)}, False),
    ],
)  # fmt: skip
def test_one_pass_over_one_tile_is_the_same_scene(one, other, same):
    assert repeats_other(replace(SCENE, **one), replace(SCENE, name="b", **other)) is same


@pytest.mark.parametrize("field", ["family", "platform", "tile"])
def test_scenes_of_another_satellite_or_tile_never_repeat(field):
    assert kept([SCENE, replace(SCENE, name="b", **{field: "other"})]) == ["a", "b"]


def test_two_parts_of_a_scene_are_kept_and_their_repeats_dropped():
    north = replace(SCENE, name="north", footprint=shapely.box(10, 46.4, 11, 47), baseline=5.0)
    south = replace(SCENE, name="south", footprint=shapely.box(10, 46, 11, 46.6), baseline=5.0)
    old = [replace(one, name=f"old {one.name}", baseline=2.0) for one in (north, south)]
    assert kept([*old, north, south]) == ["north", "south"]


some = st.builds(
    Facts,
    name=st.sampled_from("abc"),
    collection=st.sampled_from(["sentinel-2-l2a", "sentinel-2-c1-l2a"]),
    family=st.just("sentinel-2-l2a"),
    platform=st.just("sentinel-2a"),
    tile=st.sampled_from(["32TMS", "32TNS"]),
    time=st.sampled_from([MORNING + timedelta(seconds=0.7 * n) for n in range(4)]),
    orbit=st.sampled_from([None, 22, 65]),
    passes=st.sampled_from([{}, {"datatake": "A"}, {"datatake": "B"}, {"orbit": "1"}]),
    product=st.sampled_from(["", "s"]),
    part=st.sampled_from(["", "p"]),
    baseline=st.sampled_from([0.0, 2.14, 5.1]),
    footprint=st.sampled_from([shapely.box(10, 46, 11, 47), shapely.box(10, 46, 11, 46.5)]),
    address=st.uuids().map(str),
)


@given(
    st.lists(some, max_size=8).flatmap(lambda one: st.tuples(st.just(one), st.permutations(one)))
)
def test_the_order_of_the_scenes_does_not_matter(orders):
    left = [sorted(scenes[n.dropped].address for n in repeats(scenes)) for scenes in orders]
    assert left[0] == left[1]


@given(st.lists(some, max_size=8))
def test_what_is_kept_repeats_nothing(scenes):
    gone = {one.dropped for one in repeats(scenes)}
    remaining = [scene for number, scene in enumerate(scenes) if number not in gone]
    assert not repeats(remaining)


def test_a_pass_over_midnight_is_one():
    """The datatake began before midnight, the tile was seen after it."""
    before = replace(SCENE, name="b", time=datetime(2022, 8, 4, 23, 59, tzinfo=UTC))
    after = replace(SCENE, time=datetime(2022, 8, 5, 0, 9, tzinfo=UTC))
    pair = [replace(one, passes={"datatake": "20220804T235901"}) for one in (before, after)]
    assert kept(pair) == ["b"]


def test_long_series_of_one_tile_are_compared_day_by_day(monkeypatch):
    compared = []

    def counted(own, other):
        compared.append(own)
        return repeats_other(own, other)

    monkeypatch.setattr("glaciercube.acquire.duplicates.repeats_other", counted)
    series = [replace(SCENE, name=str(n), time=MORNING + timedelta(days=5 * n)) for n in range(400)]
    assert len(kept([*series, *series])) == 400
    assert len(compared) == 400
