"""How the documentation is built; offline, with the notebooks executed."""

import shutil
from pathlib import Path

import glaciercube

HERE = Path(__file__).parent

# Sphinx reads below its own folder only, so the notebooks are copied there (not committed).
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
shutil.copytree(
    HERE.parent / "notebooks",
    HERE / "notebooks",
    ignore=shutil.ignore_patterns("*.zarr", ".ipynb_checkpoints", "data"),
)

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
numpydoc_validation_exclude = {r"\._", r"\.__init__$"}
suppress_warnings = ["mystnb.unknown_mime_type"]
