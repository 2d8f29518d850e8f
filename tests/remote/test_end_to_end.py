"""Search, load and write through real servers, whole and failing: the same cube as from disk."""

import logging
import pickle
import sys
import warnings
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from servers.faults import KINDS, Faults

import glaciercube
from glaciercube.acquire import failures
from glaciercube.acquire.reader import ReadError
from glaciercube.errors import AcquireError


def loaded(address, **options):
    items = glaciercube.search(address, period="2021/2023")
    return glaciercube.load(items, resolution=10, **options)


def same(cube, truth):
    """Say whether two cubes hold the same pixels, bit by bit."""
    assert set(cube.data_vars) == set(truth.data_vars)
    for name in truth.data_vars:
        np.testing.assert_array_equal(cube[name].values, truth[name].values, err_msg=name)


def test_files_over_http_give_the_same_cube_and_store(at, files, truth, tmp_path):
    cube = loaded(at(files.url))
    same(cube.compute(), truth)
    glaciercube.write(cube, tmp_path / "cube.zarr")
    stored = glaciercube.read(tmp_path / "cube.zarr").compute()
    np.testing.assert_array_equal(stored.valid, truth.valid)
    np.testing.assert_allclose(stored.reflectance, truth.reflectance, rtol=0, atol=6e-5)
    assert not stored.read_failed.any()
    assert files.answers[206] > 0


def report(files, cube):
    """Print what a run met."""
    injected = dict(files.faults.injected)
    sys.stdout.write(
        f"\nrequests {files.requests.total()}, failed on purpose {sum(injected.values())} "
        f"{injected}, longest run of one range {files.faults.longest}, "
        f"holes {int(cube.read_failed.sum())}"
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_three_requests_in_ten_failing_give_the_same_cube(at, files, truth, signing, seed):
    """Errors, resets, stalls, halves and tokens that expire."""
    fetched = signing(files)
    address = at(files.url)
    files.faults = Faults(0.3, KINDS, seed=seed, stall_s=0.7)
    with failures.collected() as failed:
        cube = loaded(address, check=False).compute()
    report(files, cube)
    assert failed == []
    same(cube, truth)
    assert set(files.faults.injected) == set(KINDS)
    assert files.faults.longest <= 4
    share = sum(files.faults.injected.values()) / files.requests.total()
    assert 0.2 < share < 0.5
    assert len(fetched) > 1


def test_a_missing_asset_is_a_hole_that_is_reported(at, files, truth, archive, tmp_path):
    gone = archive[0] / "files" / "harmonised" / "nir.tif"

    def url(href):
        return files.url(f"{href}.gone" if href == str(gone) else href)

    with failures.collected() as failed:
        cube = loaded(at(url))
        done = glaciercube.write(cube, tmp_path / "cube.zarr")
    stored = glaciercube.read(tmp_path / "cube.zarr").compute()
    assert [(one.item, one.band, one.kind) for one in failed] == [("harmonised", "nir", "missing")]
    assert failed[0].address == files.url(f"{gone}.gone")
    assert "harmonised: 1 of nir (missing: HTTP response code: 404)" in failures.summary(failed)
    assert stored.read_failed[2].all()
    assert not stored.valid[2].any()
    assert np.isnan(stored.reflectance[2]).all()
    assert not stored.read_failed[:2].any()
    np.testing.assert_array_equal(stored.valid[:2], truth.valid[:2])
    assert list(done.read_failures) == failed


def test_or_an_exception_for_who_wants_one(at, files, archive):
    gone = str(archive[0] / "files" / "harmonised" / "nir.tif")
    address = at(lambda href: files.url(f"{href}.gone" if href == gone else href))
    cube = loaded(address, on_read_error="raise")
    with pytest.raises(ReadError, match=r"nir.tif.gone \('nir' of harmonised\) on EPSG:32632"):
        cube.compute()


def test_objects_of_s3_give_the_same_cube(at, objects, archive, truth):
    objects.put("scenes", archive[0])
    cube = loaded(at(lambda href: f"s3://scenes/{Path(href).relative_to(archive[0])}"))
    same(cube.compute(), truth)


def test_a_bucket_whose_reader_pays_is_read_by_one_that_says_so(at, objects, archive, truth):
    """The endpoint refuses who does not send x-amz-request-payer."""
    objects.put("usgs-landsat", archive[0])
    address = at(lambda href: f"s3://usgs-landsat/{Path(href).relative_to(archive[0])}")
    same(loaded(address).compute(), truth)


def test_and_a_missing_object_is_a_hole(at, objects, archive):
    objects.put("scenes", archive[0])
    gone = str(archive[0] / "files" / "harmonised" / "nir.tif")

    def address(href):
        key = Path(href).relative_to(archive[0])
        return f"s3://scenes/{key}{'.gone' if href == gone else ''}"

    with failures.collected() as failed:
        cube = loaded(at(address)).compute()
    assert [(one.item, one.band, one.kind) for one in failed] == [("harmonised", "nir", "missing")]
    assert cube.read_failed[2].all()


def test_no_token_is_kept_anywhere(at, files, signing, archive, tmp_path, caplog):
    """Not in the graph, the attributes, the store with its ledger, the records or the log."""
    caplog.set_level(logging.DEBUG)
    signing(files)
    address = at(lambda href: f"{files.url(href)}?token=secret-of-the-search")
    gone = archive[0] / "files" / "harmonised" / "nir.tif"
    hidden = gone.rename(gone.with_suffix(".away"))
    try:
        with failures.collected() as failed:
            cube = loaded(address)
            graph = pickle.dumps(dict(cube.__dask_graph__()))
            with warnings.catch_warnings(record=True) as warned:
                glaciercube.write(cube, tmp_path / "cube.zarr")
    finally:
        hidden.rename(gone)
    assert [one.kind for one in failed] == ["missing"]
    assert any("token=secret" in line for line in files.log)
    texts = [graph, str(cube.attrs).encode(), str(failed).encode(), caplog.text.encode()]
    texts += [str(one.message).encode() for one in warned]
    texts += [file.read_bytes() for file in (tmp_path / "cube.zarr").rglob("*") if file.is_file()]
    assert not any(b"secret" in text for text in texts)


def test_a_worker_process_signs_and_reports(at, files, archive):
    """On a cluster: read in another process, failures told to this one."""
    distributed = pytest.importorskip("distributed")
    gone = str(archive[0] / "files" / "harmonised" / "nir.tif")
    address = at(lambda href: files.url(f"{href}.gone" if href == gone else href))
    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.LocalCluster(processes=True, **options) as cluster:
        with distributed.Client(cluster), failures.collected() as failed:
            cube = loaded(address, check=False).compute()
    assert [(one.item, one.kind) for one in failed] == [("harmonised", "missing")]
    assert cube.read_failed[2].all()


def test_an_api_cannot_point_at_files_of_this_machine(at, files):
    with pytest.raises(AcquireError, match="is a path of this machine in an item from elsewhere"):
        loaded(at(lambda href: href))
    cube = loaded(at(lambda href: href), allow_local=True)
    assert isinstance(cube, xr.Dataset)
    assert dask.is_dask_collection(cube)
