"""Fixtures of jobs: a small archive, a plan on it, and what an undisturbed run of it gives."""

import pytest

from cluster.dask_processes import workers_here
from cluster.made import archive_of, plan_of
from glaciercube.cluster.runs import run

SIX = tuple(f"{year}-08-{day}" for year in (2021, 2022) for day in ("05", "15", "25"))


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Return a simulated archive of 192 x 192 pixels and two dates."""
    return archive_of(tmp_path_factory.mktemp("job"))


@pytest.fixture
def plan(archive):
    """Return a plan of four tiles of 2 x 2 blocks."""
    return plan_of(archive)


@pytest.fixture(scope="session")
def longer(tmp_path_factory):
    """Return an archive of six dates, whose steps take long enough to be interrupted."""
    return archive_of(tmp_path_factory.mktemp("longer"), dates=SIX)


@pytest.fixture(scope="session")
def cluster_in_process():
    """Return a client of two workers in this process."""
    with workers_here() as client:
        yield client


@pytest.fixture(scope="session")
def undisturbed(archive, tmp_path_factory, cluster_in_process):
    """Return the folder of a run that nothing interrupted, with its report."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    return out, run(plan_of(archive), out, client=cluster_in_process, spread="tiles")
