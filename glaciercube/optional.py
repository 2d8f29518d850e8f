"""One door to packages and modules that are loaded only when they are used."""

from importlib import import_module
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


def load(name: str) -> ModuleType:
    """Return a module, imported now.

    Parameters
    ----------
    name : str
        Dotted name of an installed package or of a heavy module of this package.

    Returns
    -------
    module

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
