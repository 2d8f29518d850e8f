"""How the documentation is built; offline, with the notebooks executed."""

import ast
import shutil
from pathlib import Path

import glaciercube
from glaciercube.cli.sensors import table

HERE = Path(__file__).parent

# Sphinx reads below its own folder only, so the notebooks are copied there (not committed).
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
shutil.copytree(
    HERE.parent / "notebooks",
    HERE / "notebooks",
    ignore=shutil.ignore_patterns("*.zarr", ".ipynb_checkpoints", "data"),
)

# One page of the API for each room, with every public function and class its modules define.
ROOMS = {
    "vocabulary": "Vocabulary: grids, sensors, schema, kernels",
    "acquire": "Acquire: catalogues, files, outlines, terrain",
    "store": "Store: the Zarr cube",
    "cube": "Cube: masks, composites, radar, annual layers",
    "model": "Model: networks, cards, weights",
    "train": "Train",
    "infer": "Infer: the lazy operator",
    "products": "Products: outlines, series, files",
    "view": "View: maps and time series",
    "simulate": "Simulate",
}
PACKAGE = HERE.parent / "glaciercube"
VOCABULARY_FOLDERS = ("grid", "sensors", "cover")
JOINTS = ("__init__", "__main__", "api")


def directives(path):
    """Return the autodoc directives of what a module defines, in its order."""
    module = ".".join(path.relative_to(HERE.parent).with_suffix("").parts)
    yield f".. automodule:: {module}\n   :no-members:\n"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f".. autofunction:: {module}.{node.name}\n"
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield f".. autoclass:: {module}.{node.name}\n   :members:\n"


def modules(room):
    """Return the modules of a room; of the vocabulary also those in its folders."""
    if room != "vocabulary":
        return (PACKAGE / room).glob("*.py")
    folders = (PACKAGE / name for name in VOCABULARY_FOLDERS)
    return [*PACKAGE.glob("*.py"), *(path for one in folders for path in one.glob("*.py"))]


def write_pages(folder):
    """Write the pages of all rooms."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for room, title in ROOMS.items():
        lines = [f"# {title}\n"]
        for path in sorted(modules(room)):
            if path.stem in JOINTS:
                continue
            name = path.relative_to(PACKAGE).with_suffix("").as_posix()
            lines += [f"## {name}\n", "```{eval-rst}", *directives(path), "```\n"]
        (folder / f"{room}.md").write_text("\n".join(lines))


write_pages(HERE / "api" / "generated")
(HERE / "api" / "generated" / "sensors.txt").write_text(table() + "\n")

project = "glaciercube"
author = "The glaciercube developers"
copyright = "2026, the glaciercube developers"
version = release = glaciercube.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc", "myst_nb"]
exclude_patterns = ["_build", "jupyter_execute"]
html_theme = "furo"
html_title = "glaciercube"

nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_validation_checks = {"PR02", "PR03"}
suppress_warnings = ["mystnb.unknown_mime_type"]
