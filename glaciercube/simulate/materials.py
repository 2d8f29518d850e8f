"""Spectra of what a glacier landscape is made of."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from glaciercube.errors import SchemaError
from glaciercube.sensors import SENTINEL_2_L2A

BANDS = SENTINEL_2_L2A.names
"""Order of the last axis of every array of samples."""

NEEDED = ("snow", "firn", "ice", "debris", "rock", "vegetation", "water")
"""Materials that a scene is made of; "cloud" may come along, else the typical one serves."""

SAMPLES = 24
"""Typical samples of each material."""

# Rounded typical surface reflectances (1) of a dark and a bright example of each material, in
# the order of BANDS. They are not measurements of any place: they keep to the ranges that
# textbooks and spectral libraries show for Sentinel-2's bands (snow: bright in the visible,
# falling in the near infrared with grain size, almost black in the short-wave infrared).
_DARK_AND_BRIGHT = {
    # blue green red  re071 re075 re078 nir  nir08 sw16 sw22
    "snow": (
        (0.80, 0.79, 0.77, 0.75, 0.73, 0.70, 0.66, 0.63, 0.02, 0.02),
        (0.97, 0.97, 0.96, 0.95, 0.93, 0.91, 0.88, 0.86, 0.14, 0.12),
    ),
    "firn": (
        (0.52, 0.52, 0.50, 0.49, 0.47, 0.44, 0.41, 0.38, 0.01, 0.01),
        (0.76, 0.75, 0.73, 0.71, 0.68, 0.65, 0.60, 0.57, 0.03, 0.03),
    ),
    "ice": (
        (0.26, 0.26, 0.24, 0.23, 0.21, 0.18, 0.15, 0.13, 0.01, 0.01),
        (0.60, 0.59, 0.54, 0.51, 0.47, 0.41, 0.34, 0.30, 0.02, 0.02),
    ),
    "debris": (
        (0.08, 0.10, 0.11, 0.12, 0.12, 0.13, 0.13, 0.14, 0.17, 0.16),
        (0.19, 0.22, 0.25, 0.26, 0.27, 0.28, 0.28, 0.29, 0.33, 0.31),
    ),
    "rock": (
        (0.06, 0.07, 0.08, 0.09, 0.10, 0.10, 0.11, 0.11, 0.15, 0.14),
        (0.17, 0.20, 0.23, 0.24, 0.25, 0.27, 0.27, 0.28, 0.36, 0.33),
    ),
    "vegetation": (
        (0.03, 0.06, 0.04, 0.09, 0.22, 0.27, 0.30, 0.31, 0.15, 0.08),
        (0.06, 0.10, 0.09, 0.15, 0.33, 0.40, 0.43, 0.45, 0.26, 0.16),
    ),
    "water": (
        (0.03, 0.03, 0.02, 0.015, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005),
        (0.12, 0.15, 0.11, 0.08, 0.05, 0.05, 0.04, 0.03, 0.01, 0.01),
    ),
    "cloud": (
        (0.45, 0.45, 0.45, 0.46, 0.46, 0.47, 0.47, 0.47, 0.24, 0.18),
        (0.96, 0.95, 0.95, 0.96, 0.96, 0.96, 0.96, 0.96, 0.60, 0.45),
    ),
}


def _typical():
    """Return samples between dark and bright, each tinted a little, the same at every call."""
    rng = np.random.default_rng(20)
    table = {}
    for name, (dark, bright) in _DARK_AND_BRIGHT.items():
        part = np.linspace(0, 1, SAMPLES)[:, np.newaxis]
        samples = (1 - part) * np.array(dark) + part * np.array(bright)
        tint = rng.normal(0, 0.025, (SAMPLES, 1)) * np.linspace(-1, 1, len(BANDS))
        samples = samples * (1 + tint + rng.normal(0, 0.01, samples.shape))
        samples.setflags(write=False)
        table[name] = samples.astype(np.float32)
    return table


TYPICAL: Mapping[str, np.ndarray] = MappingProxyType(_typical())
"""Rounded typical reflectances (sample, band) by material, with a small variability.

They are no data set: good for demonstrations and tests, not for training a network that is
to be trusted."""


def checked(materials: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return samples by material, sorted from dark to bright, the typical cloud added.

    Parameters
    ----------
    materials : mapping of str to array (sample, band)
        Reflectance (1) in the order of `BANDS`.

    Raises
    ------
    SchemaError
        With a line for each material that is missing, empty, not finite or of another shape.
    """
    problems = []
    table = {}
    for name in (*NEEDED, "cloud"):
        if name not in materials:
            if name != "cloud":
                problems.append(f"{name!r} is missing; there are {sorted(materials)}")
            continue
        samples = np.asarray(materials[name], np.float32)
        if samples.ndim != 2 or samples.shape[1] != len(BANDS) or not len(samples):
            problems.append(
                f"{name!r} has shape {samples.shape}, needs (samples, {len(BANDS)}) in the "
                f"order {list(BANDS)}"
            )
        elif not np.isfinite(samples).all():
            problems.append(f"{name!r} has samples that are not finite")
        else:
            table[name] = samples[np.argsort(samples.mean(axis=1), kind="stable")]
    if problems:
        raise SchemaError("materials do not fit:\n  " + "\n  ".join(problems))
    table.setdefault("cloud", TYPICAL["cloud"])
    return table
