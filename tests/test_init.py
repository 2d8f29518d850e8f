"""Importing the package is light, and every verb is there."""

import subprocess
import sys

import pytest

import glaciercube

HEAVY = ("xarray", "torch", "dask", "zarr", "geopandas", "rasterio", "numpy", "matplotlib")


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_the_package_imports_nothing_heavy():
    loaded = run(
        "import sys, glaciercube; glaciercube.__version__; dir(glaciercube);"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert loaded == "[]"


def test_the_verbs_do_not_import_torch():
    assert (
        run("import sys, glaciercube; glaciercube.search; print('torch' in sys.modules)") == "False"
    )


@pytest.mark.parametrize("verb", glaciercube.VERBS)
def test_every_verb_is_a_documented_function(verb):
    function = getattr(glaciercube, verb)
    assert callable(function)
    for section in ("Parameters", "Returns"):
        assert f"{section}\n" in function.__doc__, f"{verb} has no section {section}"


def test_simulate_can_be_called_whatever_was_imported_before():
    code = "import glaciercube.simulate.scene, glaciercube as g; print(callable(g.simulate))"
    assert run(code) == "True"


def test_an_unknown_name_lists_the_verbs():
    with pytest.raises(AttributeError, match="no attribute 'serach'.*'search'"):
        glaciercube.serach  # noqa: B018
