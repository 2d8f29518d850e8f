"""Which pixels to use: what was measured, and how far to believe the provider, layer by layer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import xarray as xr

from glaciercube import schema
from glaciercube.cube import blocks
from glaciercube.cube.swir import cloud_by_swir
from glaciercube.errors import SchemaError
from glaciercube.indices import snow_by_thresholds

ALGORITHM_VERSION = 1
"""Raised whenever the same cube and rules would give another mask."""

Name = Literal["provider", "keep-snow", "swir", "measured"]
Rule = Literal["keep", "drop", "keep-snow", "swir"]

RULES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cloud": ("drop", "keep", "keep-snow", "swir"),
        "cloud_shadow": ("drop", "keep"),
        "saturated": ("keep-snow", "drop", "keep"),
        "snow": ("keep", "drop"),
        "water": ("keep", "drop"),
    }
)
"""What may be done with the pixels that a layer marks."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A rule for each layer."""

    title: str
    rules: Mapping[str, str]
    """By layer; a layer that is not named is kept."""


def _policy(title, **rules):
    return Policy(title=title, rules=MappingProxyType(rules))


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "provider": _policy(
            "valid, and neither cloud nor cloud shadow in the provider's opinion",
            cloud="drop",
            cloud_shadow="drop",
            saturated="keep-snow",
        ),
        "keep-snow": _policy(
            "as provider, but a cloud with the colours of snow is taken for snow",
            cloud="keep-snow",
            cloud_shadow="drop",
            saturated="keep-snow",
        ),
        "swir": _policy(
            "as provider, but over snow the short-wave infrared tells what is cloud",
            cloud="swir",
            cloud_shadow="drop",
            saturated="keep-snow",
        ),
        "measured": _policy("valid; the provider is not asked"),
    }
)
"""What each policy takes for clear."""

SNOW_BANDS = ("green", "nir|nir08", "swir16")
"""What tells snow; either of two where a bar stands."""


def clear(
    cube: xr.Dataset,
    policy: Name = "provider",
    *,
    cloud: Rule | None = None,
    cloud_shadow: Rule | None = None,
    saturated: Rule | None = None,
    snow: Rule | None = None,
    water: Rule | None = None,
) -> xr.DataArray:
    """Return which pixels to use, by a named policy and your own rules for single layers.

    Parameters
    ----------
    cube : Dataset
        With `valid` and, as the rules need, `cloud`, `cloud_shadow`, `saturated`, `snow`,
        `water` and `reflectance`.
    policy : "provider", "keep-snow", "swir" or "measured"
        Rules for all layers; see `POLICIES`.
    cloud : "drop", "keep", "keep-snow" or "swir", optional
        "keep-snow": drop it but where NDSI and near infrared say snow. "swir": over such
        snow `cloud_by_swir` decides in the provider's place, elsewhere the provider.
    cloud_shadow : "drop" or "keep", optional
    saturated : "keep-snow", "drop" or "keep", optional
        Pixels with a band at the end of its range. "keep-snow": drop them but where the
        provider or the thresholds see snow.
    snow, water : "keep" or "drop", optional
        What the provider calls snow or water; kept by all policies.

    Returns
    -------
    DataArray (time, y, x), bool, as lazy as the cube
        True where clear; never where not valid. Its attribute `rules` says what was done with
        each layer (JSON), `policy` which policy that began with.

    Raises
    ------
    SchemaError
        If the policy or a rule is unknown or the cube lacks what it needs.

    Notes
    -----
    Providers take bright snow for cloud (Sentinel-2 scene classification, Landsat CFMask).
    "keep-snow" gives those pixels back whose NDSI is above 0.4 and whose near infrared is
    bright (Hall et al. 1995): water clouds are bright in the short-wave infrared, where snow
    is dark. Thin clouds and clouds of ice or with a mixed phase pass, on an ice sheet most of
    them: NDSI 0.4 to 0.7. "swir" is stricter (Moussavi et al. 2020): it needs NDSI >= 0.8 or a
    dark short-wave infrared, and it also finds clouds over snow that the provider missed, at
    the price of some snow of very fine grains.

    A saturated reflectance is a lower bound. Over snow that is what TM and ETM+ give in the
    visible, and NDSI from it is a lower bound too, so what looks like snow is snow: such
    pixels are kept, or most snow in June would be lost. Elsewhere saturation is mostly cloud
    or glint, and its colours are wrong.

    A layer the cube does not have is passed over, but for `cloud`, and for a layer you give
    a rule for. A sensor that tells no cloud shadow keeps the shadows.
    """
    given = {
        "cloud": cloud,
        "cloud_shadow": cloud_shadow,
        "saturated": saturated,
        "snow": snow,
        "water": water,
    }
    asked = {layer: rule for layer, rule in given.items() if rule is not None}
    rules = _rules(cube, policy, asked)
    arrays = _inputs(cube, policy, rules)
    out = blocks.mapped(
        clear_pixels, arrays, name="clear", version=ALGORITHM_VERSION, rules=dict(rules)
    )
    out.attrs = _attrs(cube, policy, asked, rules)
    out.encoding = dict(cube["valid"].encoding)
    return out


def _rules(cube, policy, asked):
    """Return the rules that change anything, checked."""
    if policy not in POLICIES:
        raise SchemaError(f"a policy is one of {list(POLICIES)}, found {policy!r}")
    wrong = [layer for layer, rule in asked.items() if rule not in RULES[layer]]
    if wrong:
        raise SchemaError(
            "unknown rules: "
            + "; ".join(
                f"{name} is one of {list(RULES[name])}, not {asked[name]!r}" for name in wrong
            )
        )
    rules = {**POLICIES[policy].rules, **asked}
    needed = {"cloud", *asked}
    return {
        layer: rules[layer]
        for layer in RULES
        if rules.get(layer, "keep") != "keep" and (layer in cube or layer in needed)
    }


def _inputs(cube, policy, rules):
    """Return the layers and bands that the rules need, by name."""
    flag = schema.VARIABLES["valid"]
    needs = {name: flag for name in ("valid", *rules)}
    spares_snow = rules.get("saturated") == "keep-snow"
    by_colour = rules.get("cloud") in {"keep-snow", "swir"} or (spares_snow and _has_bands(cube))
    if by_colour:
        needs["reflectance"] = schema.VARIABLES["reflectance"]
    elif spares_snow:
        needs["snow"] = flag
    schema.check(cube, needs, f"clear with policy {policy!r}: the cube")
    arrays = {name: cube[name] for name in needs if name != "reflectance"}
    if spares_snow and "snow" in cube:
        arrays["snow"] = cube["snow"]
    return {**arrays, **(_bands(cube, policy) if by_colour else {})}


def _has_bands(cube):
    return "reflectance" in cube and all(_found(cube, wanted) for wanted in SNOW_BANDS)


def _found(cube, wanted):
    held = cube["band"].values.tolist() if "band" in cube.coords else []
    return next((name for name in wanted.split("|") if name in held), None)


def _bands(cube, policy):
    found = {wanted: _found(cube, wanted) for wanted in SNOW_BANDS}
    missing = [wanted.split("|")[0] for wanted, name in found.items() if name is None]
    if missing:
        raise SchemaError(
            f"policy {policy!r} needs the bands {list(SNOW_BANDS)}, the cube lacks {missing}; "
            "load them, or choose 'provider'"
        )
    reflectance = cube["reflectance"]
    return {
        wanted.split("|")[0]: reflectance.sel(band=name, drop=True)
        for wanted, name in found.items()
    }


def _attrs(cube, policy, asked, rules):
    title = POLICIES[policy].title
    if asked:
        changes = ", ".join(f"{layer} {rule}" for layer, rule in asked.items())
        title = f"{title}; changed: {changes}"
    attrs = {"units": "1", "long_name": title, "policy": policy, "rules": json.dumps(rules)}
    if "cloud" in rules and "source" in cube["cloud"].attrs:
        attrs["cloud_source"] = cube["cloud"].attrs["source"]
    return attrs


def clear_pixels(layers: Mapping[str, np.ndarray], rules: Mapping[str, str]) -> np.ndarray:
    """Return which pixels to use, of arrays.

    Parameters
    ----------
    layers : mapping of str to array (time, y, x)
        `valid` and the layers of the rules, bool; for rules that look at colours `green`,
        `nir` and `swir16`, float32 reflectance (1).
    rules : mapping of str to str
        What to do with the pixels of a layer, as in `RULES`.

    Returns
    -------
    array (time, y, x), bool

    Examples
    --------
    >>> valid, cloud = np.array([True, True, False]), np.array([False, True, False])
    >>> clear_pixels({"valid": valid, "cloud": cloud}, {"cloud": "drop"})
    array([ True, False, False])
    """
    white = np.zeros(layers["valid"].shape, bool)
    if "swir16" in layers:
        white = snow_by_thresholds(layers["green"], layers["nir"], layers["swir16"])
    kept = layers["valid"].copy()
    for layer, rule in rules.items():
        kept &= ~_dropped(layer, rule, layers, white)
    return kept


def _dropped(layer, rule, layers, white):
    """Return which pixels of a layer go; `white` is what thresholds call snow."""
    marked = layers[layer]
    if rule == "swir":
        return np.where(white, cloud_by_swir(layers["green"], layers["swir16"]), marked)
    if rule == "keep-snow":
        named = layers.get("snow", False) if layer == "saturated" else False
        return marked & ~(white | named)
    return marked if rule == "drop" else np.zeros_like(marked)
