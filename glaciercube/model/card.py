"""The card of a network: what it needs, what it gives and which weights it stands for.

A card is a JSON file beside its weights (safetensors); `mlm` says how it is written.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from glaciercube import schema
from glaciercube.errors import WeightsError
from glaciercube.model import dates, mlm
from glaciercube.model.weights import check_weights_file, refuse_pickle

OBSCURED = "obscured"
"""Category of an extent card for what hides the ground: cloud, unreadable shadow. Code 255."""

ONNX = "onnx"
"""Architecture of a card whose weights are an ONNX file: the network itself, no torch module."""

LEVELS = ("surface", "top-of-atmosphere")
"""What a card's `radiometry` and a cube's `level` may say."""

WINDOW = 256
"""Side of the windows (pixels) of a network that is not exact and whose card names none."""

_FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a network needs, what it gives, and which weights it stands for."""

    name: str
    version: str
    task: Literal["facies", "extent"]
    """Which class layer it gives."""

    architecture: str
    """Name in `networks.NETWORKS`, "onnx", or what builds a network of another package:
    "package.module:build"; see `factories`."""

    arguments: Mapping[str, Any]
    """Of the architecture, plain JSON values; all that a network of another package is given."""

    weights: str
    """Absolute path of the safetensors or ONNX file; the card names it relative to itself."""

    sha256: str
    """Of the weights file, hexadecimal."""

    bands: tuple[str, ...]
    """Band names in channel order; alternates with a bar, the preferred first: "nir|nir08"."""

    mean: tuple[float, ...]
    """Reflectance (1) per band, taken away before scaling."""

    std: tuple[float, ...]
    """Reflectance (1) per band, divided by."""

    categories: tuple[str, ...]
    """Names in output order. An extent card may have "obscured", reported as nodata."""

    halo: int
    """Pixels on each side that the result at a pixel depends on."""

    stride: int = 1
    """Total stride (pixels): windows start on multiples of it."""

    exact: bool = True
    """Whether tiles with this halo give the whole image's result."""

    fill: float = 0.0
    """Normalised value (1) that the network sees where a pixel was not measured; 0 is the
    training mean."""

    window: int = 0
    """Side (pixels) of the windows that a network which is not exact was trained on; 0 if it
    takes any size."""

    dates: Mapping[str, Any] = field(default_factory=dict)
    """Dates that the network sees at once; empty if one. {"count": how many, "anchor": "centred"
    (as many before the date as after it; default), "past" or "nearest", "season": its first and
    last day ["07-01", "09-30"], "days": how far away they may be at most, "mask": whether each
    has a channel of its own that is 1 where it was measured and 0 elsewhere (default), "day":
    whether each has one more that says how many days after the date it is, in years of 365 (not
    by default)}. A network sees dates of one season and year only, none but the date itself
    outside the season. Its channels are those of the first date, then those of the second,
    ascending in time; a date that is not there is `fill`, its mask and its day 0. See
    `infer.dates.seen`."""

    inspection: Mapping[str, Any] = field(default_factory=dict)
    """What `inspector.inspect` found, as recorded by `Inspection.record`; empty if it did not
    run."""

    quantized: Mapping[str, Any] = field(default_factory=dict)
    """Network in 8-bit integers: {"file": name beside the weights, "sha256": of it,
    "sha256_bin": of its weights, "agreement": share of equal classes (0-1), "pixels": they were
    counted on}; empty if there is none."""

    radiometry: tuple[str, ...]
    """Levels it was trained on: "surface", "top-of-atmosphere"."""

    temperature: float = 1.0
    """Logits are divided by it, so that probabilities are calibrated."""

    resolution_m: tuple[float, float]
    """Smallest and largest pixel size (m) it was trained for."""

    training: Mapping[str, Any] = field(default_factory=dict)
    """Data, steps and seed it was trained with."""

    metrics: Mapping[str, Any] = field(default_factory=dict)
    """How well it does, and on what."""

    limits: tuple[str, ...] = ()
    """What it cannot do, a sentence each."""

    licence: str
    """Of the weights, as SPDX identifier."""

    unlabelled: tuple[str, ...] = ()
    """Categories trained without real labels."""

    def __post_init__(self):
        """Make the values plain JSON and raise one error that lists all that does not fit."""
        problems = [*_type_problems(self)]
        if not problems:
            object.__setattr__(self, "weights", str(Path(self.weights).absolute()))
            for key in ("arguments", "dates", "training", "metrics", "inspection", "quantized"):
                object.__setattr__(self, key, _plain(self, key))
            object.__setattr__(self, "dates", dates.declared(self.dates))
            checks = (_size_problems, _name_problems, _number_problems, _inspection_problems)
            more = (_quantized_problems, _date_problems)
            problems = [line for check in (*checks, *more) for line in check(self)]
        if problems:
            raise WeightsError(f"the card {self.name!r} is not usable:\n  " + "\n  ".join(problems))

    @property
    def channels(self) -> int:
        """Number of channels of the network's input: bands, masks and days of all dates it sees."""
        return dates.channels(self.dates, len(self.bands))

    @property
    def foreign(self) -> bool:
        """Whether its network is of another package: "package.module:build"."""
        return ":" in self.architecture

    @property
    def multiple(self) -> int:
        """Pixels that the sides of its network's images are multiples of, as was inspected.

        1 for a network that takes any size; others get images that are continued with zeros.
        """
        return int(self.inspection.get("multiple") or 1)

    @property
    def codes(self) -> tuple[int, ...]:
        """Code in the class layer of each category, in output order; 255 for "obscured"."""
        table = {category.name: category.code for category in schema.TASKS[self.task]}
        return tuple(table.get(name, schema.NODATA) for name in self.categories)


def write_card(card: ModelCard, path: str | Path) -> Path:
    """Write a card beside its weights.

    Parameters
    ----------
    card : ModelCard
    path : str or Path
        Of the JSON file, in the folder of the weights.

    Returns
    -------
    Path
        Of the card, absolute.

    Raises
    ------
    WeightsError
        If the weights are missing, in another folder or have another hash.
    """
    target = Path(path).absolute()
    if Path(card.weights).parent.resolve() != target.parent.resolve():
        raise WeightsError(
            f"a card lies beside its weights {card.weights!r}, but it would be written to "
            f"{str(target)!r}; write it to that folder or move the weights"
        )
    check_weights_file(card.weights, card.sha256)
    text = json.dumps(mlm.document_of(card), indent=2, ensure_ascii=False)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(target)
    return target


def read_card(path: str | Path) -> ModelCard:
    """Return the card of a JSON file; its weights are not opened.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    WeightsError
        If there is no such file, it is no card, or a newer one than this version reads.
    """
    place = Path(path).absolute()
    refuse_pickle(place, "a card")
    document = mlm.document_at(place)
    try:
        return ModelCard(**mlm.fields_of(document, place))
    except WeightsError:
        raise
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise WeightsError(
            f"the card {str(place)!r} has a value of a wrong type: {error}; write it anew with "
            "glaciercube.model.card.write_card"
        ) from error


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "version": str,
    "task": str,
    "architecture": str,
    "arguments": Mapping,
    "weights": str,
    "sha256": str,
    "bands": tuple,
    "mean": tuple,
    "std": tuple,
    "categories": tuple,
    "halo": int,
    "stride": int,
    "exact": bool,
    "fill": (int, float),
    "window": int,
    "dates": Mapping,
    "inspection": Mapping,
    "quantized": Mapping,
    "radiometry": tuple,
    "temperature": (int, float),
    "resolution_m": tuple,
    "training": Mapping,
    "metrics": Mapping,
    "limits": tuple,
    "licence": str,
    "unlabelled": tuple,
}


def _type_problems(card):
    for name, kind in _TYPES.items():
        value = getattr(card, name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            wanted = kind.__name__ if isinstance(kind, type) else "float"
            yield f"{name!r} must be a {wanted}, found {value!r}"


def _plain(card, key):
    try:
        return json.loads(json.dumps(dict(getattr(card, key)), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"{key!r} of the card {card.name!r} must be plain JSON values: {error}"
        ) from error


def _size_problems(card):
    for name in ("mean", "std"):
        size = len(getattr(card, name))
        if size != len(card.bands):
            yield f"{name!r} needs one value for each of {len(card.bands)} bands, found {size}"
    if not card.bands:
        yield "'bands' is empty"
    if len(card.categories) < 2:
        yield f"'categories' needs two names or more, found {card.categories!r}"
    if len(set(card.categories)) < len(card.categories):
        yield f"'categories' has a name twice: {card.categories!r}"


def _name_problems(card):
    if card.foreign and not _FACTORY.fullmatch(card.architecture):
        yield (
            "'architecture' of another package must be 'package.module:build', the name of what "
            f"can be imported, not a path; found {card.architecture!r}"
        )
    if card.task not in schema.TASKS:
        yield f"'task' must be one of {sorted(schema.TASKS)}, found {card.task!r}"
        return
    known = [category.name for category in schema.TASKS[card.task]]
    if card.task == "extent":
        known.append(OBSCURED)
        if not {"glacier", "not_glacier"} <= set(card.categories):
            yield f"an extent card needs the categories {known[:2]}, found {card.categories!r}"
    unknown = [name for name in card.categories if name not in known]
    if unknown:
        yield f"unknown categories {unknown}; {card.task} has {known}"
    strange = [name for name in card.unlabelled if name not in card.categories]
    if strange:
        yield f"'unlabelled' has {strange}, which are not among the categories"
    levels = [level for level in card.radiometry if level not in LEVELS]
    if levels or not card.radiometry:
        yield f"'radiometry' must be of {list(LEVELS)}, found {list(card.radiometry)}"


def _number_problems(card):
    if not all(math.isfinite(value) for value in card.mean):
        yield f"'mean' must be finite, found {card.mean!r}"
    if not all(0 < value < math.inf for value in card.std):
        yield f"'std' must be above zero and finite, found {card.std!r}"
    if card.halo < 0 or card.stride < 1:
        yield f"needs halo >= 0 and stride >= 1, found {card.halo} and {card.stride}"
    elif card.window < 0 or card.window % card.stride:
        yield (f"'window' must be 0 or a multiple of the stride {card.stride}, found {card.window}")
    if not math.isfinite(card.fill):
        yield f"'fill' must be finite, found {card.fill!r}"
    if not 0 < card.temperature < math.inf:
        yield f"'temperature' must be above zero and finite, found {card.temperature!r}"
    low, high = card.resolution_m if len(card.resolution_m) == 2 else (1, 0)
    if not 0 < low <= high:
        yield f"'resolution_m' needs (smallest, largest) in m, found {card.resolution_m!r}"
    if not _is_hash(card.sha256):
        yield f"'sha256' must be 64 hexadecimal digits, found {card.sha256!r}"


def _inspection_problems(card):
    """Yield where the card promises more than was found of its network."""
    found = card.inspection
    if not found or not card.exact:
        return
    if not found.get("exact", True):
        yield f"'exact' must be False, the inspection found {found.get('reasons')}"
        return
    halo, stride = found.get("halo") or 0, math.lcm(found.get("stride") or 1, card.multiple)
    if card.halo < halo:
        yield f"'halo' must be {halo} or more as the inspection found, found {card.halo}"
    if card.stride < 1 or card.stride % stride:
        yield f"'stride' must be a multiple of {stride} as the inspection found, not {card.stride}"


def _quantized_problems(card):
    found = card.quantized
    if not found:
        return
    name = found.get("file")
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\\0"):
        yield f"'quantized' needs a 'file' beside the weights, without a folder, found {name!r}"
    for key in ("sha256", "sha256_bin"):
        if not _is_hash(found.get(key, "")):
            yield f"'quantized' needs a {key!r} of 64 hexadecimal digits, found {found.get(key)!r}"
    agreement, pixels = found.get("agreement"), found.get("pixels")
    if not isinstance(agreement, int | float) or not 0 <= agreement <= 1:
        yield f"'quantized' needs an 'agreement' from 0 to 1, found {agreement!r}"
    if not isinstance(pixels, int) or pixels < 1:
        yield f"'quantized' needs the number of 'pixels' of the agreement, found {pixels!r}"


def _date_problems(card):
    yield from dates.problems(card.dates) if card.dates else ()
    yield from dates.problems_of(card.architecture, card.dates)


def _is_hash(text):
    return isinstance(text, str) and len(text) == 64 and not set(text) - set("0123456789abcdef")
