"""How a card is written: a STAC Item of the Machine Learning Model extension (MLM 1.5).

What MLM has no word for (halo, stride, radiometry, temperature, ...) stands under `glaciercube:`.
"""

import json
from pathlib import Path
from typing import Any

from glaciercube import schema
from glaciercube.errors import WeightsError

LAYOUT = 4
"""Newest version of how a card is written; a newer one is refused. A card is written as an older
one where older versions of this package read it rightly: layout 2 has `fill` and `window`, layout
3 has `dates`, layout 4 has `day` among them."""

NODATA_RULE = "normalised-zero"
"""Input that was not measured becomes the training mean; the output there is nodata."""

FILL_RULE = "normalised-fill"
"""Input that was not measured becomes the card's `fill`; the output there is nodata."""

_EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.5.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)

_SHA256_MULTIHASH = "1220"
"""Prefix of `file:checksum`: sha2-256 of 32 bytes."""

_BEGIN, _END = "1972-07-23T00:00:00Z", "9999-12-31T23:59:59Z"
"""A STAC Item has a time: from the first Landsat on, without end."""

_WAYS: dict[str, tuple[str | int, ...]] = {
    "layout": ("properties", "glaciercube:layout"),
    "name": ("properties", "mlm:name"),
    "version": ("properties", "version"),
    "task": ("properties", "glaciercube:task"),
    "architecture": ("properties", "mlm:architecture"),
    "arguments": ("properties", "mlm:hyperparameters"),
    "weights": ("assets", "model", "href"),
    "sha256": ("assets", "model", "file:checksum"),
    "bands": ("properties", "mlm:input", 0, "bands"),
    "scaling": ("properties", "mlm:input", 0, "value_scaling"),
    "categories": ("properties", "mlm:output", 0, "classification:classes"),
    "halo": ("properties", "glaciercube:halo"),
    "stride": ("properties", "glaciercube:stride"),
    "exact": ("properties", "glaciercube:exact"),
    "nodata": ("properties", "glaciercube:nodata"),
    "radiometry": ("properties", "glaciercube:radiometry"),
    "temperature": ("properties", "glaciercube:temperature"),
    "resolution_m": ("properties", "glaciercube:resolution_m"),
    "alternates": ("properties", "glaciercube:alternates"),
    "unlabelled": ("properties", "glaciercube:unlabelled"),
    "training": ("properties", "glaciercube:training"),
    "metrics": ("properties", "glaciercube:metrics"),
    "limits": ("properties", "glaciercube:limits"),
    "licence": ("properties", "license"),
}
"""Where the fields of a card stand in its JSON file."""

_OPTIONAL: dict[str, tuple[str | int, ...]] = {
    "fill": ("properties", "glaciercube:fill"),
    "window": ("properties", "glaciercube:window"),
    "dates": ("properties", "glaciercube:dates"),
    "inspection": ("properties", "glaciercube:inspection"),
    "quantized": ("properties", "glaciercube:quantized"),
}
"""Where fields stand that a card may lack; cards of older versions do."""


def document_at(place: Path) -> dict[str, Any]:
    """Return the JSON of a card that has everything a card needs.

    Raises
    ------
    WeightsError
        If there is no such file, it is not JSON, is of a newer layout, or lacks keys (all named).
    """
    if not place.is_file():
        raise WeightsError(f"there is no card at {str(place)!r}; give the path of its JSON file")
    try:
        document = json.loads(place.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(f"a card is a JSON file, but {str(place)!r} is not: {error}") from error
    found = _value(document, _WAYS["layout"])
    if isinstance(found, int) and found > LAYOUT:
        raise WeightsError(
            f"the card {str(place)!r} has layout {found}, this version of glaciercube reads up "
            f"to {LAYOUT}; update glaciercube"
        )
    missing = [" > ".join(map(str, way)) for way in _WAYS.values() if _value(document, way) is None]
    if missing:
        raise WeightsError(f"the card {str(place)!r} lacks:\n  " + "\n  ".join(missing))
    return document


def fields_of(document: dict[str, Any], place: Path) -> dict[str, Any]:
    """Return the fields of a card by name.

    Parameters
    ----------
    document : dict
        As `document_at` gives it.
    place : Path
        Of the JSON file; the weights are named relative to it.
    """
    have = {name: _value(document, way) for name, way in _WAYS.items()}
    more = {name: _value(document, way) for name, way in _OPTIONAL.items()}
    more = {name: value for name, value in more.items() if value is not None}
    if have["nodata"] != (FILL_RULE if more.get("fill") else NODATA_RULE):
        raise WeightsError(
            f"the card {str(place)!r} needs the nodata rule {NODATA_RULE!r}, or {FILL_RULE!r} and "
            f"a fill, found {have['nodata']!r} and {more.get('fill')!r}; update glaciercube or "
            "write the card anew"
        )
    names = [band["name"] for band in have["bands"]]
    same = ("name", "version", "task", "architecture", "halo", "stride", "exact", "licence")
    return {key: have[key] for key in same} | {
        "arguments": dict(have["arguments"]),
        "weights": str(place.parent / have["weights"]),
        "sha256": have["sha256"].removeprefix(_SHA256_MULTIHASH),
        "bands": tuple("|".join([name, *have["alternates"].get(name, ())]) for name in names),
        "mean": tuple(float(scaling["mean"]) for scaling in have["scaling"]),
        "std": tuple(float(scaling["stddev"]) for scaling in have["scaling"]),
        "categories": tuple(category["name"] for category in have["categories"]),
        "radiometry": tuple(have["radiometry"]),
        "temperature": float(have["temperature"]),
        "resolution_m": tuple(float(edge) for edge in have["resolution_m"]),
        "training": dict(have["training"]),
        "metrics": dict(have["metrics"]),
        "limits": tuple(have["limits"]),
        "unlabelled": tuple(have["unlabelled"]),
        **more,
    }


def document_of(card: Any) -> dict[str, Any]:
    """Return the JSON of a card.

    Parameters
    ----------
    card : ModelCard
    """
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": f"{card.name}-{card.version}",
        "geometry": None,
        "properties": {
            "datetime": None,
            "start_datetime": _BEGIN,
            "end_datetime": _END,
            "license": card.licence,
            "version": card.version,
            "mlm:name": card.name,
            "mlm:architecture": card.architecture,
            "mlm:tasks": ["semantic-segmentation"],
            "mlm:framework": "ONNX" if _is_onnx(card) else "PyTorch",
            "mlm:pretrained": True,
            "mlm:hyperparameters": dict(card.arguments),
            "mlm:input": [_input(card)],
            "mlm:output": [_output(card)],
            **_own(card),
        },
        "links": [],
        "assets": {"model": _asset(card)},
    }


def _value(document, way):
    for key in way:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _input(card):
    return {
        "name": "reflectance",
        "bands": [{"name": band.split("|")[0]} for band in card.bands],
        "input": _tensor(card.channels, "channel" if card.dates else "bands"),
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": std}
            for mean, std in zip(card.mean, card.std, strict=True)
        ],
        "resize_type": None,
        "pre_processing_function": None,
    }


def _output(card):
    categories = [
        {"value": code, "name": name} | ({"nodata": True} if code == schema.NODATA else {})
        for name, code in zip(card.categories, card.codes, strict=True)
    ]
    return {
        "name": card.task,
        "tasks": ["semantic-segmentation"],
        "result": _tensor(len(card.categories), "category"),
        "classification:classes": categories,
        "post_processing_function": None,
    }


def _tensor(size, dim):
    return {
        "shape": [-1, size, -1, -1],
        "dim_order": ["batch", dim, "height", "width"],
        "data_type": "float32",
    }


def _own(card):
    alternates = {band.split("|")[0]: band.split("|")[1:] for band in card.bands if "|" in band}
    more = {name: getattr(card, name) for name in _OPTIONAL}
    return {
        "glaciercube:layout": _layout(card),
        "glaciercube:task": card.task,
        "glaciercube:halo": card.halo,
        "glaciercube:stride": card.stride,
        "glaciercube:exact": card.exact,
        "glaciercube:nodata": FILL_RULE if card.fill else NODATA_RULE,
        "glaciercube:radiometry": list(card.radiometry),
        "glaciercube:temperature": card.temperature,
        "glaciercube:resolution_m": list(card.resolution_m),
        "glaciercube:alternates": alternates,
        "glaciercube:unlabelled": list(card.unlabelled),
        "glaciercube:training": dict(card.training),
        "glaciercube:metrics": dict(card.metrics),
        "glaciercube:limits": list(card.limits),
        **{str(_OPTIONAL[name][-1]): value for name, value in more.items() if value},
    }


def _layout(card):
    if card.dates:
        return 4 if card.dates.get("day") else 3
    return 2 if card.fill or card.window else 1


def _is_onnx(card):
    return Path(card.weights).suffix.lower() == ".onnx"


def _asset(card):
    return {
        "href": f"./{Path(card.weights).name}",
        "type": "application/octet-stream",
        "title": f"Weights of {card.name} {card.version}",
        "roles": ["mlm:model", "mlm:weights", "data"],
        "mlm:artifact_type": "ONNX" if _is_onnx(card) else "safetensors.torch.save_file",
        "file:checksum": _SHA256_MULTIHASH + card.sha256,
        "file:size": Path(card.weights).stat().st_size,
    }
