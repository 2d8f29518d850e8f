"""Weights files: their hash, and the kinds that are refused because opening them runs code."""

import hashlib
from pathlib import Path

from glaciercube.errors import WeightsError


def sha256_of(path: str | Path) -> str:
    """Return the sha256 of a file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_weights_file(path: str | Path, sha256: str) -> None:
    """Raise an error if a weights file is missing, of a refused kind or has another hash.

    Raises
    ------
    WeightsError
    """
    place = Path(path)
    refuse_pickle(place, "weights")
    require_file(place)
    refuse_other_hash(place, sha256, sha256_of(place))


def require_file(place: Path) -> None:
    """Raise an error if a card's weights file is missing.

    Raises
    ------
    WeightsError
    """
    if not place.is_file():
        raise WeightsError(
            f"the card needs its weights at {str(place)!r}, but there is no such file; "
            "put the safetensors file back beside the card"
        )


def refuse_other_hash(place: Path, sha256: str, found: str) -> None:
    """Raise an error if a weights file has another hash than its card says.

    Parameters
    ----------
    place : Path
    sha256, found : str
        Of the card and of the file, hexadecimal.

    Raises
    ------
    WeightsError
    """
    if found != sha256:
        raise WeightsError(
            f"the weights {str(place)!r} need sha256 {sha256}, found {found}: the file is "
            "corrupt or another one; download or copy it again, or write a new card for it"
        )


def refuse_pickle(path: str | Path, what: str) -> None:
    """Raise an error if a file's name says that opening it would run code from it.

    Parameters
    ----------
    path : str or Path
    what : str
        "weights" or "a card", for the message.

    Raises
    ------
    WeightsError
    """
    suffix = Path(path).suffix.lower()
    if suffix in _PICKLES:
        needed = "a JSON file" if what == "a card" else "a safetensors file"
        raise WeightsError(
            f"{what} must be {needed}, found {str(path)!r}: {_PICKLES[suffix]} runs code when it "
            "is opened, so it is never loaded; save the state dict with "
            "safetensors.torch.save_file and write a card for it"
        )


_PICKLES = {
    ".pt": "a PyTorch checkpoint (pickle) or TorchScript",
    ".pth": "a PyTorch checkpoint (pickle)",
    ".ckpt": "a Lightning checkpoint (pickle)",
    ".bin": "a PyTorch checkpoint (pickle)",
    ".pt2": "a torch.export archive (unpickles)",
    ".torchscript": "TorchScript (unpickles)",
    ".ts": "TorchScript (unpickles)",
    ".jit": "TorchScript (unpickles)",
    ".pkl": "a pickle",
    ".pickle": "a pickle",
    ".joblib": "a pickle",
}
