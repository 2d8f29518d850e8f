"""`sensors`: the table of sensors, and what it makes of a folder of STAC documents."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glaciercube import sensors
from glaciercube.errors import AcquireError, SensorError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the table makes of one document."""

    name: str
    """Path below the folder."""

    sensor: str
    """The row's name; empty if refused."""

    provider: str
    bands: str
    """How many of the default bands were found, such as "10/10"; then those that miss."""

    quality: str
    offset: str
    """Offset (DN) and what told it."""

    reason: str
    """Why it is refused; empty if it is taken."""


def run(options: argparse.Namespace) -> None:
    """Print the table of sensors, or what it makes of the documents of a folder.

    Raises
    ------
    AcquireError
        If the folder holds no JSON document.
    SensorError
        If an item of a known sensor lacks all of its bands.
    """
    if options.check is None:
        print(table())
        return
    found = findings(Path(options.check))
    for line in _lines(found):
        print(line)


def table() -> str:
    """Return the table of sensors as text."""
    lines = []
    for row in sensors.SENSORS.values():
        quality = ", ".join(layer.name for layer in row.quality) or "none"
        lines.append(f"{row.name:20} {row.title}")
        lines.append(f"{'':20} collections {', '.join(row.collections)}")
        lines.append(f"{'':20} bands {', '.join(row.names)}; quality {quality}")
        datum = f"; heights above {row.vertical_datum}" if row.vertical_datum else ""
        lines.append(
            f"{'':20} {row.dtype}, nodata {', '.join(f'{value:g}' for value in row.nodata)}, "
            f"conversion {row.rule}{datum}"
        )
    return "\n".join(lines)


def findings(folder: Path) -> list[Finding]:
    """Return what the table makes of each JSON document below a folder.

    Raises
    ------
    AcquireError
        If there is none, or one is no JSON.
    """
    paths = sorted(folder.rglob("*.json")) if folder.is_dir() else []
    if not paths:
        raise AcquireError(
            f"a check needs a folder with STAC documents (*.json), {str(folder)!r} has none"
        )
    return [_finding(path, str(path.relative_to(folder))) for path in paths]


def _finding(path: Path, name: str) -> Finding:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AcquireError(f"{path} is no JSON document: {error}") from error
    try:
        row = sensors.sensor_of_document(document)
        return _taken(row, document, name)
    except SensorError as error:
        return Finding(
            name=name, sensor="", provider="", bands="", quality="", offset="", reason=str(error)
        )


def _taken(row: sensors.Sensor, document: Mapping[str, Any], name: str) -> Finding:
    assets = document["assets"]
    wanted = row.bands
    keys = {band.name: next((k for k in band.keys if k in assets), None) for band in wanted}
    missing = [band for band, key in keys.items() if key is None]
    first = next((band for band in wanted if keys[band.name]), None)
    if first is None:
        raise SensorError(
            f"an item of {row.name} needs assets such as {wanted[0].keys}, it has {sorted(assets)}"
        )
    linear = sensors.linear_of(row, document["properties"], first, assets[keys[first.name]])
    held = [layer.name for layer in row.quality if any(key in assets for key in layer.keys)]
    lacking = f" without {', '.join(missing)}" if missing else ""
    return Finding(
        name=name,
        sensor=row.name,
        provider=sensors.provider_of(row, assets) or "unknown",
        bands=f"{len(wanted) - len(missing)}/{len(wanted)}{lacking}",
        quality=", ".join(held) or "none",
        offset="undeclared" if linear is None else f"{linear.offset:g} ({linear.told_by})",
        reason="",
    )


def _lines(found: list[Finding]) -> list[str]:
    taken = [one for one in found if not one.reason]
    refused = [one for one in found if one.reason]
    lines = [
        f"{'document':64} {'sensor':20} {'provider':22} {'bands':8} {'quality':20} offset (DN)"
    ]
    lines += [
        f"{one.name[-64:]:64} {one.sensor:20} {one.provider:22} {one.bands:8} {one.quality:20} "
        f"{one.offset}"
        for one in taken
    ]
    lines += ["", f"{'refused':64} reason"]
    lines += [f"{one.name[-64:]:64} {one.reason}" for one in refused]
    lines += ["", f"{len(found)} documents: {len(taken)} recognised, {len(refused)} refused"]
    return lines
