"""environment.yml, constraints.txt and pyproject.toml say the same."""

import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {
    "dask": "dask-core",
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "xxhash": "python-xxhash",
}
CONDA_ONLY = {"pip", "libgdal-core"}
"""What conda needs beside: the installer, and GDAL, which rasterio's wheels carry."""


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def declared(lines):
    """Return name -> specifier of requirement lines."""
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): str(one.specifier) for one in requirements}


def test_conda_names_and_floors_agree_with_pyproject():
    extras = project()["optional-dependencies"]
    want = declared([*project()["dependencies"], *extras["distributed"]])
    want = {CONDA_NAMES.get(name, name): floor for name, floor in want.items()}
    want["python"] = project()["requires-python"]
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    have = {name: floor for name, floor in declared(listed).items() if name not in CONDA_ONLY}
    assert have == want


def test_extras_are_those_the_install_lines_name():
    extras = set(project()["optional-dependencies"])
    assert {
        "distributed",
        "train",
        "openvino",
        "onnx",
        "viz",
        "icechunk",
        "keras",
        "buckets",
        "aws",
        "pc",
        "dev",
        "docs",
    } == extras


@pytest.mark.parametrize(
    "group",
    ["core", "distributed", "buckets", "icechunk", "openvino", "onnx", "keras", "dev", "docs"],
)
def test_the_tested_set_satisfies_the_floors(group):
    lines = (
        project()["dependencies"] if group == "core" else project()["optional-dependencies"][group]
    )
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pinned[canonicalize_name(name)] = Version(version)
    for line in lines:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"constraints.txt does not pin {name}"
        assert pinned[name] in requirement.specifier, f"{pinned[name]} is not {requirement}"


def test_torch_is_the_tested_build():
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()


def test_versions_agree():
    import_line = (ROOT / "glaciercube" / "__init__.py").read_text()
    assert f'__version__ = "{project()["version"]}"' in import_line
    assert f"version: {project()['version']}" in (ROOT / "CITATION.cff").read_text()


def test_hooks_run_the_tested_versions():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    revisions = {repo["repo"].rsplit("/", 1)[1]: repo["rev"] for repo in config["repos"]}
    assert revisions == {
        "ruff-pre-commit": f"v{pinned['ruff']}",
        "nbstripout": pinned["nbstripout"],
    }
