"""Simulated scenes with known truth, cut into patches a network learns from."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
import xbatcher

from glaciercube import schema
from glaciercube.errors import SchemaError

VERSION = 5
"""Of how scenes are drawn; patches cached by another version are not used."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Patches:
    """Square images and the category of each of their pixels."""

    images: np.ndarray
    """(patch, band, y, x), float32: reflectance (1), 0 where not measured."""

    targets: np.ndarray
    """(patch, y, x), uint8: number of the category, 255 where unknown."""

    bands: tuple[str, ...]
    categories: tuple[str, ...]

    weights: np.ndarray | None = None
    """(patch, y, x), float32: how far each label is trusted (1), 0 to 1; all alike if None."""

    groups: tuple[str, ...] = ()
    """Of each patch, what it shares with patches that must not be split from it: its glacier,
    region or block of dates; empty if that is not known."""

    places: tuple[str, ...] = ()
    """Of each patch, where and when it was seen, to be read in a message; empty if not known."""


def make_patches(
    scenes: Sequence[xr.Dataset],
    categories: Sequence[str],
    *,
    bands: Sequence[str],
    size: int = 128,
) -> Patches:
    """Return the patches of scenes.

    Parameters
    ----------
    scenes : sequence of Dataset
        Each with `reflectance` (band, y, x), NaN where not measured, and `target` (y, x),
        as `scene` gives them.
    categories : sequence of str
        What the numbers in `target` mean, in order.
    bands : sequence of str
        To take from the scenes, in this order.
    size : int
        Rows and columns (pixels) of a patch. Patches do not overlap; what is left at the
        ends of a scene is not used.

    Returns
    -------
    Patches

    Raises
    ------
    SchemaError
        If a scene lacks a band or is smaller than a patch.
    """
    images, targets = [], []
    for scene in scenes:
        _require(scene, bands, size)
        chosen = scene.sel(band=list(bands))
        for patch in xbatcher.BatchGenerator(chosen, input_dims={"y": size, "x": size}):
            values = patch["reflectance"].transpose("band", "y", "x").to_numpy()
            measured = np.isfinite(values).all(axis=0)
            images.append(np.where(measured, values, 0).astype(np.float32))
            truth = patch["target"].transpose("y", "x").to_numpy()
            targets.append(np.where(measured, truth, schema.NODATA).astype(np.uint8))
    return Patches(
        images=np.stack(images),
        targets=np.stack(targets),
        bands=tuple(bands),
        categories=tuple(categories),
    )


def cached(
    make: Callable[[], Patches], folder: Path | str | None, key: Mapping[str, object]
) -> Patches:
    """Return patches from a folder, made and kept there if it has none of this key.

    Parameters
    ----------
    make : callable
        Makes the patches.
    folder : path or None
        Nothing is kept if None.
    key : mapping
        What the patches follow from: parameters as text or numbers, arrays by content.
    """
    if folder is None:
        return make()
    text = repr(sorted((name, _content(value)) for name, value in key.items()))
    token = hashlib.sha256(f"{VERSION} {text}".encode()).hexdigest()[:16]
    path = Path(folder) / f"patches-{token}.npz"
    if not path.exists():
        patches = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft.npz")
        np.savez(
            draft,
            images=patches.images,
            targets=patches.targets,
            bands=np.array(patches.bands),
            categories=np.array(patches.categories),
        )
        draft.replace(path)
    with np.load(path, allow_pickle=False) as kept:
        return Patches(
            images=kept["images"],
            targets=kept["targets"],
            bands=tuple(kept["bands"].tolist()),
            categories=tuple(kept["categories"].tolist()),
        )


def _content(value):
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, Mapping):
        return sorted((name, _content(inner)) for name, inner in value.items())
    return value


def _require(scene, bands, size):
    have = [str(name) for name in scene["band"].values]
    lacking = [name for name in bands if name not in have]
    if lacking:
        raise SchemaError(f"a scene needs the bands {list(bands)}, it lacks {lacking}; has {have}")
    rows, columns = scene.sizes["y"], scene.sizes["x"]
    if min(rows, columns) < size:
        raise SchemaError(
            f"a patch of {size} x {size} pixels needs a scene at least as large, found {rows} "
            f"rows x {columns} columns; give a smaller size"
        )
