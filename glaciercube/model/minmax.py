"""The authors' scaling statistics, given by the user: smallest and largest value of each band."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glaciercube.errors import WeightsError
from glaciercube.model import pickled_numbers

Scaling = str | Path | Sequence[Any] | Mapping[str, Any]
"""A file, or (smallest, largest)."""


def limits(
    scaling: Scaling | None, features: Sequence[str], bands: Sequence[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the smallest and the largest value of each band.

    Parameters
    ----------
    scaling : str, Path, sequence or mapping
        Smallest and largest values: (smallest, largest), or {"min": smallest, "max": largest},
        each with one number for each band, or a mapping of the authors' features to one or more
        numbers. Or a file of that: JSON, .npz with "min" and "max", .npy of two rows, or the
        authors' .pickle, whose numbers are read without unpickling it.
    features : sequence of str
        The authors' names of groups of bands, in the order of the bands.
    bands : sequence of str
        Of the network. More numbers than that belong to bands that it does not take.

    Raises
    ------
    WeightsError
        If there are none, they are something else, too few, not finite, or no range.

    Examples
    --------
    >>> limits(({"optical": [0.0, 0.1], "dem": -100}, {"optical": [2.0, 2.1], "dem": 8000}),
    ...        ("optical", "dem"), ("red", "nir", "elevation"))
    ((0.0, 0.1, -100.0), (2.0, 2.1, 8000.0))
    """
    needed = (
        f"the smallest and largest value of each of {list(bands)}, as the network was trained with"
    )
    if scaling is None:
        raise WeightsError(
            f"needs scaling: {needed}; they do not come with the weights: give the authors' "
            "statistics as a file (.pickle, .json, .npz) or as (smallest, largest)"
        )
    whence = "scaling"
    if isinstance(scaling, str | Path):
        whence = repr(str(Path(scaling).absolute()))
        scaling = _of_file(Path(scaling), needed)
    if isinstance(scaling, Mapping) and {"min", "max"} <= set(scaling):
        scaling = (scaling["min"], scaling["max"])
    if not isinstance(scaling, Sequence | np.ndarray) or len(scaling) != 2:
        raise WeightsError(f"needs {needed}, (smallest, largest), found {_short(scaling)}")
    low, high = (_numbers(each, features, bands, whence) for each in scaling)
    flat = [band for band, a, b in zip(bands, low, high, strict=True) if not a < b]
    if flat:
        raise WeightsError(
            f"needs {needed}; of {flat} {whence} has no range: smallest {list(low)}, largest "
            f"{list(high)}"
        )
    return low, high


def _of_file(path, needed):
    place = path.absolute()
    if not place.is_file():
        raise WeightsError(f"needs {needed}, but there is no file {str(place)!r}")
    suffix = place.suffix.lower()
    if suffix in (".pickle", ".pkl"):
        return pickled_numbers.read(place)
    try:
        if suffix == ".json":
            return json.loads(place.read_text(encoding="utf-8"))
        found = np.load(place, allow_pickle=False)
        return found if isinstance(found, np.ndarray) else {key: found[key] for key in found}
    except (ValueError, OSError, EOFError) as error:
        raise WeightsError(
            f"needs {needed}, in a file .json, .npz, .npy or .pickle, found {str(place)!r}: {error}"
        ) from error


def _numbers(found, features, bands, whence):
    """Return a number for each band."""
    if isinstance(found, Mapping):
        missing = [name for name in features if name not in found]
        if missing:
            raise WeightsError(
                f"{whence} needs the features {list(features)}, in the order of {list(bands)}, "
                f"it has {sorted(found)}"
            )
        parts = [np.ravel(found[name]) for name in features]
        found = np.concatenate(parts)
    try:
        values = np.asarray(found, float).ravel()
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"{whence} needs a number for each of {list(bands)}, found {_short(found)}"
        ) from error
    if len(values) < len(bands) or not np.isfinite(values).all():
        raise WeightsError(
            f"{whence} needs {len(bands)} finite numbers, for {list(bands)}, found "
            f"{values.tolist()[:16]}"
        )
    return tuple(values[: len(bands)].tolist())


def _short(found):
    text = str(sorted(found)) if isinstance(found, Mapping) else str(found)
    return text if len(text) < 120 else f"{text[:120]}..."
