"""Declared against observed: which offset a scene's pixels show, whatever its metadata say."""

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from glaciercube.acquire.overviews import gdal_options, overview
from glaciercube.errors import AcquireError, GlacierCubeWarning, SensorError
from glaciercube.radiometry import Floor, observed_offset
from glaciercube.sensors import Sensor

Check = Literal["warn", "raise", "trust-pixels", "trust-metadata", False]
"""What to do where the pixels contradict the metadata."""

CIRRUS = ("B10", "cirrus")
"""The cirrus band (1.375 um), black everywhere but in high cloud, where a source has it."""

READERS = 8
"""Overviews read at the same time."""

SHOWN = 3
"""Scenes named in a message at most."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One source whose offset is to be settled."""

    name: str
    """Item id or file name."""

    date: str
    """ISO date."""

    declared: int | None
    """Offset (DN) its metadata declare; None if they say nothing."""

    dark: Mapping[str, tuple[str, int]]
    """Address and band index of the bands to look at, by name."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The offset of one source, and where it came from."""

    used: float
    """To be added before scaling (DN)."""

    declared: float | None
    observed: int | None
    floor: float | None
    """Digital number of the darkest pixels; None if nobody looked."""

    def record(self) -> dict[str, float | None]:
        """Return the decision for a cube's provenance."""
        return {
            "offset_used": self.used,
            "offset_declared": self.declared,
            "offset_observed": self.observed,
            "floor": self.floor,
        }


def require_check(check: Check) -> None:
    """Raise an error if a policy is none of the known ones.

    Raises
    ------
    SensorError
    """
    if check not in get_args(Check) or isinstance(check, int) and check is not False:
        raise SensorError(f"check is one of {list(get_args(Check))}, found {check!r}")


def settle(
    scenes: Sequence[Scene], sensor: Sensor, check: Check = "warn", *, forgive: bool = False
) -> list[Settled]:
    """Return the offset of each scene, after a look at its darkest pixels.

    Parameters
    ----------
    scenes : sequence of Scene
    sensor : Sensor
    check : "warn", "raise", "trust-pixels", "trust-metadata" or False
        Where pixels and metadata contradict each other: use the pixels and warn, raise,
        use the pixels, or use the metadata. False does not look at the pixels at all.
    forgive : bool
        Whether a scene that cannot be looked at is taken at its metadata's word, with a
        warning, instead of raising.

    Returns
    -------
    list of Settled
        The pixels' offset where they can tell, else the declared one, else 0.

    Raises
    ------
    AcquireError
        If a scene has no measured pixel, or cannot be read.
    SensorError
        If `check` is unknown, or is "raise" and a scene contradicts its metadata.

    Notes
    -----
    One overview read per dark band of each scene, some at the same time. Metadata that
    declare nothing count as 0 in the comparison: this is what a reader would apply.
    """
    require_check(check)
    if check is False:
        return [_undisturbed(scene) for scene in scenes]
    remote = any("://" in address for scene in scenes for address, _ in scene.dark.values())
    options = gdal_options() if remote else None
    unseen: list[str] = []

    def floor_of(scene):
        try:
            return look(scene, sensor.nodata[0], options)
        except AcquireError as error:
            if not forgive:
                raise
            unseen.append(str(error))
            return Floor(number=float("nan"), offset=None)

    with ThreadPoolExecutor(max_workers=READERS) as pool:
        floors = list(pool.map(floor_of, scenes))
    settled = [
        _settle_one(scene, floor, sensor, check)
        for scene, floor in zip(scenes, floors, strict=True)
    ]
    if unseen:
        warnings.warn(
            f"the offset of {len(unseen)} of {len(scenes)} scenes is taken from their metadata, "
            f"as they cannot be looked at: {'; '.join(sorted(unseen)[:SHOWN])}",
            GlacierCubeWarning,
            stacklevel=3,
        )
    if _in_question(sensor) and check in ("warn", "raise"):
        _report(scenes, settled, check)
    return settled


def _in_question(sensor):
    """Say whether pixels can contradict what the metadata of a sensor declare."""
    return sensor.rule == "sentinel-2-baseline"


def look(scene: Scene, nodata: float, options: dict[str, Any] | None = None) -> Floor:
    """Return the floor of a scene from a small overview of its dark bands.

    Parameters
    ----------
    scene : Scene
    nodata : float
        Digital number of a pixel that was not measured.
    options : dict, optional
        GDAL's, for remote files.

    Raises
    ------
    AcquireError
        If nothing was measured, or a band cannot be read.
    """
    seen = {name: overview(*address, nodata, options) for name, address in scene.dark.items()}
    if not any(numbers.size for numbers in seen.values()):
        raise AcquireError(
            f"a scene needs measured pixels, but {scene.name} ({scene.date}) is nodata "
            f"everywhere in {list(seen)}; leave it out"
        )
    return observed_offset(seen, nodata)


def _undisturbed(scene):
    return Settled(used=scene.declared or 0, declared=scene.declared, observed=None, floor=None)


def _settle_one(scene, floor, sensor, check):
    known = floor.offset is not None and _in_question(sensor)
    used = floor.offset if known and check != "trust-metadata" else scene.declared or 0
    number = None if np.isnan(floor.number) else round(floor.number, 1)
    return Settled(
        used=used,
        declared=scene.declared,
        observed=floor.offset if known else None,
        floor=number,
    )


def _report(scenes, settled, check):
    """Warn or raise once about all scenes that contradict their metadata or say nothing."""
    pairs = list(zip(scenes, settled, strict=True))
    silent = [p for p in pairs if p[1].declared is None and p[1].observed]
    wrong = [
        p for p in pairs
        if p[1].declared is not None and p[1].observed not in (None, p[1].declared)
    ]  # fmt: skip
    unknown = [p for p in pairs if p[1].declared is None and p[1].observed is None]
    lines = []
    if silent:
        lines.append(
            f"{len(silent)} of {len(pairs)} scenes carry the +1000 shift of Sentinel-2 "
            f"processing baseline 04.00 and no metadata declare it: {_list(silent)}"
        )
    if wrong:
        lines.append(
            f"{len(wrong)} of {len(pairs)} scenes contradict the offset their metadata "
            f"declare: {_list(wrong)}"
        )
    if check == "raise" and lines:
        raise SensorError(
            "; ".join(lines) + "; decide with check='trust-pixels' or 'trust-metadata'"
        )
    if lines:
        lines.append("the offset seen in the pixels is applied (check='trust-metadata' does not)")
    if unknown:
        lines.append(
            f"{len(unknown)} of {len(pairs)} scenes neither declare an offset nor hold a dark "
            f"surface that would show it, 0 is assumed: {_list(unknown)}"
        )
    if lines:
        warnings.warn("; ".join(lines), GlacierCubeWarning, stacklevel=5)


def _list(pairs):
    return ", ".join(
        f"{scene.date} (declared {one.declared}, pixels {one.observed}, "
        f"darkest {one.floor if one.floor is None else format(one.floor, '.0f')})"
        for scene, one in pairs
    )
