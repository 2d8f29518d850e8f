"""Which pixels to use: what was measured, and how far to believe the provider's clouds."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
import xarray as xr

from glaciercube import schema
from glaciercube.errors import SchemaError
from glaciercube.indices import snow_by_thresholds

Policy = Literal["provider", "keep-snow", "measured"]

POLICIES: Mapping[str, str] = MappingProxyType(
    {
        "provider": "valid, and neither cloud nor cloud shadow in the provider's opinion",
        "keep-snow": "as provider, but a cloud with the colours of snow is taken for snow",
        "measured": "valid; the provider is not asked",
    }
)
"""What each policy takes for clear."""

SNOW_BANDS = ("green", "nir", "swir16")


def clear(cube: xr.Dataset, policy: Policy = "provider") -> xr.DataArray:
    """Return which pixels to use, by a named policy.

    Parameters
    ----------
    cube : Dataset
        With `valid` and, as the policy needs, `cloud`, `cloud_shadow` and `reflectance`.
    policy : "provider", "keep-snow" or "measured"
        See `POLICIES`.

    Returns
    -------
    DataArray (time, y, x), bool, as lazy as the cube
        True where clear; never where not valid.

    Raises
    ------
    SchemaError
        If the policy is unknown or the cube lacks what it needs.

    Notes
    -----
    Providers take bright snow for cloud (Sentinel-2 scene classification, Landsat CFMask).
    "keep-snow" gives those pixels back whose NDSI and near infrared say snow (Hall et al.
    1995): water clouds are bright in the short-wave infrared, where snow is dark. High ice
    clouds may pass. A sensor that tells no cloud shadow keeps the shadows.
    """
    if policy not in POLICIES:
        raise SchemaError(f"a policy is one of {list(POLICIES)}, found {policy!r}")
    schema.check(cube, _needs(policy), f"clear with policy {policy!r}: the cube")
    kept = cube["valid"]
    if policy != "measured":
        cloud = cube["cloud"]
        if policy == "keep-snow":
            cloud = cloud & ~_snow(cube)
        kept = kept & ~cloud
        if "cloud_shadow" in cube:
            kept = kept & ~cube["cloud_shadow"]
    attrs = {"units": "1", "long_name": POLICIES[policy], "policy": policy}
    out = kept.rename("clear").assign_attrs(attrs)
    out.encoding = dict(cube["valid"].encoding)
    return out


def _needs(policy):
    names = {"provider": ["valid", "cloud"], "measured": ["valid"]}
    wanted = names.get(policy, ["valid", "cloud", "reflectance"])
    return {name: schema.VARIABLES[name] for name in wanted}


def _snow(cube):
    held = cube["band"].values.tolist()
    missing = [name for name in SNOW_BANDS if name not in held]
    if missing:
        raise SchemaError(
            f"policy 'keep-snow' needs the bands {list(SNOW_BANDS)}, the cube lacks {missing}; "
            "load them, or choose 'provider'"
        )
    return xr.apply_ufunc(
        snow_by_thresholds,
        *(cube["reflectance"].sel(band=name, drop=True) for name in SNOW_BANDS),
        dask="parallelized",
        output_dtypes=[np.bool_],
    )
