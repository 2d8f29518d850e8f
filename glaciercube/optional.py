"""One door to packages and modules that are loaded only when they are used."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

INSTALL = {
    "distributed": "distributed",
    "lightning": "train",
    "torchmetrics": "train",
    "openvino": "openvino",
    "nncf": "openvino",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "h5py": "keras",
    "icechunk": "icechunk",
    "obstore": "buckets",
    "botocore": "aws",
    "planetary_computer": "pc",
    "hvplot": "viz",
}
"""Which extra of glaciercube installs a package."""

REPORTERS = {"openvino": "openvino_telemetry", "nncf": "openvino_telemetry"}
"""Package that, where it is found, is used by another to report over the net that it is used; both
of these go without it."""


def load(name: str) -> ModuleType:
    """Return a module, imported now.

    Parameters
    ----------
    name : str
        Dotted name of an installed package or of a heavy module of this package.

    Returns
    -------
    module
        OpenVINO and NNCF send nothing and leave no file, unless they were imported before.

    Raises
    ------
    ImportError
        If the package is not installed; the message has the install line.

    Examples
    --------
    >>> load("math").floor(2.5)
    2
    """
    try:
        with _hidden(REPORTERS.get(name.split(".")[0], "")):
            return import_module(name)
    except ModuleNotFoundError as error:
        missing = (error.name or name).split(".")[0]
        if missing == "glaciercube":
            raise
        extra = INSTALL.get(missing)
        line = f"pip install 'glaciercube[{extra}]'" if extra else f"pip install {missing}"
        raise ImportError(
            f"this needs the package {missing!r}, which is not installed; run: {line}"
        ) from error


def is_installed(name: str) -> bool:
    """Return whether a package can be loaded, without importing it.

    Parameters
    ----------
    name : str

    Examples
    --------
    >>> is_installed("math"), is_installed("no_such_package")
    (True, False)
    """
    return sys.modules.get(name) is not None or find_spec(name) is not None


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Let imports not find a package; one that was imported before stays."""
    if not name or name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # as importlib's documentation has it
    try:
        yield
    finally:
        sys.modules.pop(name, None)
