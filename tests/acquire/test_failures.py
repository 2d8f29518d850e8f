"""Records of reads that failed: kept, told from worker to client, listed."""

import json
import sys
from dataclasses import replace

import pytest

from glaciercube.acquire import failures
from glaciercube.acquire.failures import KINDS, Failure, collected, distinct, record, summary

GONE = Failure(
    item="scene", band="B04", address="https://x.org/B04.tif", window="rows 0-64",
    kind="missing", cause="HTTP response code: 404", tries=1,
)  # fmt: skip


def test_what_was_recorded_meanwhile_is_collected_once():
    record(GONE)
    with collected() as failed:
        record(replace(GONE, band="B03"))
        record(replace(GONE, band="B03", tries=0))
        assert failed == []
    assert [one.band for one in failed] == ["B03"]


def test_also_if_the_work_ends_in_an_error():
    seen = []

    def work():
        with collected() as failed:
            seen.append(failed)
            record(GONE)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert seen == [[GONE]]


def test_collecting_may_be_nested():
    with collected() as outer:
        with collected() as inner:
            record(GONE)
        record(replace(GONE, band="B02"))
    assert (len(inner), len(outer)) == (1, 2)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(failures, "KEPT", 5)
    with collected() as failed:
        for number in range(20):
            record(replace(GONE, window=str(number)))
    assert [one.window for one in failed] == ["15", "16", "17", "18", "19"]


def test_a_record_goes_through_json():
    assert Failure(**json.loads(json.dumps(GONE.as_dict()))) == GONE


def test_a_task_that_ran_twice_counts_once():
    assert distinct([GONE, replace(GONE, cause="reset"), replace(GONE, window="rows 64-128")]) == [
        GONE,
        replace(GONE, window="rows 64-128"),
    ]


def test_the_summary_counts_by_item_and_kind():
    lines = summary([GONE, replace(GONE, band="B03"), replace(GONE, item="other", kind="damaged")])
    assert lines.splitlines() == [
        "3 reads of 2 items failed:",
        "  scene: 2 of B04, B03 (missing: HTTP response code: 404)",
        "  other: 1 of B04 (damaged: HTTP response code: 404)",
    ]
    assert set(KINDS) >= {"missing", "damaged", "transient", "forbidden", "not a raster"}


def test_distributed_is_not_imported_for_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "distributed", raising=False)
    with collected() as failed:
        record(GONE)
    assert failed == [GONE]
    assert "distributed" not in sys.modules


def fail_on(number):
    record(replace(GONE, window=str(number)))
    return number


def test_workers_tell_the_client():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.LocalCluster(processes=True, **options) as cluster:
        with distributed.Client(cluster) as client:
            client.gather(client.map(fail_on, [100]))
            with collected() as failed:
                client.gather(client.map(fail_on, range(3)))
    assert sorted(one.window for one in failed) == ["0", "1", "2"]
