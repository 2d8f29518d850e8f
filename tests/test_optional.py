"""The one door to packages that are loaded only when used."""

import sys
from pathlib import Path

import pytest

from glaciercube import optional


def test_an_installed_module_is_returned():
    assert optional.load("xml.etree.ElementTree") is sys.modules["xml.etree.ElementTree"]


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(optional.INSTALL, "no_such_package", "cluster")
    text = (
        "this needs the package 'no_such_package', which is not installed; "
        r"run: pip install 'glaciercube\[cluster\]'"
    )
    with pytest.raises(ImportError, match=text):
        optional.load("no_such_package.inner")


def test_a_missing_package_without_extra_names_itself():
    with pytest.raises(ImportError, match="run: pip install no_such_package$"):
        optional.load("no_such_package")


def test_a_missing_module_of_this_package_is_no_installing_matter():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'glaciercube\.no_such_room'"):
        optional.load("glaciercube.no_such_room")


def test_every_extra_exists():
    tomllib = optional.load("tomllib")
    root = Path(__file__).parents[1]
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert set(optional.INSTALL.values()) <= set(declared["optional-dependencies"])
