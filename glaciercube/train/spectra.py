"""Measured surface spectra, cleaned and sorted into the materials a simulated scene is made of.

Two public sets, neither of which comes with the package:

- labelled Sentinel-2 surface reflectance at the USGS benchmark glaciers, 2021, from the
  repository glacier-snow-cover-mapping (R. Aberle, MIT licence);
- field spectra of the surface of the Greenland ice sheet (Cook et al. 2020,
  https://doi.org/10.5194/tc-14-309-2020) with the spectral response of Sentinel-2 (ESA).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from glaciercube.errors import AcquireError
from glaciercube.sensors import SENTINEL_2_L2A
from glaciercube.simulate.materials import TYPICAL

BANDS = SENTINEL_2_L2A.names
"""Bands of every spectrum, in order."""

NEEDED = (
    "usgs-benchmark-spectra/Sentinel-2_SR_training_data.csv",
    "greenland-field-spectra/Albedo_master.csv",
    "greenland-field-spectra/S2SpectralResponse.csv",
)
"""Files of the data folder that training reads."""

CLASSES = {1: "snow", 2: "shadowed snow", 3: "ice", 4: "debris", 5: "water"}
"""Classes of the USGS benchmark glacier spectra."""

COLUMNS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
"""The bands' names in both sets of spectra, in the order of `BANDS`."""

CLOUD_SWIR = 0.25
"""Reflectance at 1.6 micrometres (1) above which a row labelled snow or ice is none: snow of
1 mm grains has 0.02 and fresh snow 0.15 (Warren 1982, fig. 8), cloud and bare ground more."""

BROKEN_COPIES = 5
"""A spectrum that occurs this often is a failed extraction, not that many equal pixels."""

SNOW_SITES = ("13_7_S4", "14_7_S4", "14_7_SB6", "14_7_SB8", "17_7_SB1", "17_7_SB2")
"""Greenland field spectra of snow, as sorted by the authors (Cook et al. 2020)."""

NO_SURFACE = ("RAIN2",)
"""Greenland columns that are no sample of a snow or ice surface."""

FIRN_SNOW_SHARE = (0.25, 0.7)
"""Firn has no labelled spectra: it is a mixture of snow and ice with this share of snow."""


def materials(
    data: Path | str, *, glaciers: Sequence[str] | None = None, seed: int = 0
) -> Mapping[str, np.ndarray]:
    """Return reflectance samples of each material, real ones where there are any.

    Parameters
    ----------
    data : path
        Folder that holds the files of `NEEDED`.
    glaciers : sequence of str, optional
        USGS benchmark glaciers to take spectra from: Gulkana, SouthCascade, Sperry,
        Wolverine; all if None. A material they lack is taken from all.
    seed : int
        Of the mixtures of firn.

    Returns
    -------
    mapping of str to array (n, band), float32
        Reflectance (1) in the order of `BANDS` of snow, firn, ice, debris, rock, water
        (real) and of every material that only has typical values (vegetation, cloud).

    Raises
    ------
    AcquireError
        If a file is missing or lacks columns, or a glacier is unknown.
    """
    table = read_usgs(data)
    field = read_greenland(data)
    chosen = _of_glaciers(table, glaciers)
    real = {}
    for material in ("snow", "ice", "debris", "water"):
        rows = chosen[chosen["material"] == material]
        rows = table[table["material"] == material] if rows.empty else rows
        real[material] = rows[list(COLUMNS)].to_numpy(np.float32)
    for material in ("snow", "ice"):
        extra = field[field["material"] == material][list(COLUMNS)].to_numpy(np.float32)
        real[material] = np.concatenate([real[material], extra])
    real["firn"] = firn_of(real["snow"], real["ice"], seed=seed)
    real["rock"] = real["debris"]
    typical = {name: np.asarray(values, np.float32) for name, values in TYPICAL.items()}
    return {**typical, **real}


def firn_of(snow: np.ndarray, ice: np.ndarray, *, seed: int, samples: int = 2000) -> np.ndarray:
    """Return spectra of firn as mixtures of snow and ice.

    Parameters
    ----------
    snow, ice : array (n, band), float32
        Reflectance (1).
    seed, samples : int
        Of the draw, and how many.

    Returns
    -------
    array (samples, band), float32
        An assumption, not a measurement: firn is older, coarser and dirtier snow, and
        lies between snow and ice in every band.
    """
    generator = np.random.default_rng(seed)
    share = generator.uniform(*FIRN_SNOW_SHARE, (samples, 1)).astype(np.float32)
    first = snow[generator.integers(len(snow), size=samples)]
    second = ice[generator.integers(len(ice), size=samples)]
    return share * first + (1 - share) * second


def read_usgs(data: Path | str) -> pd.DataFrame:
    """Return the labelled surface reflectance at USGS benchmark glaciers, cleaned.

    Parameters
    ----------
    data : path
        Folder that holds the files of `NEEDED`.

    Returns
    -------
    DataFrame
        `glacier`, `date` (int, YYYYMMDD), `material` (see `CLASSES`) and the ten bands in
        `COLUMNS` (reflectance, 1).

    Notes
    -----
    Left out are rows with a missing band; spectra that occur again (the rows of Wolverine
    on 2021-06-15 repeat those of Gulkana) or many times (one constant spectrum stands for
    680 failed extractions); and snow or ice brighter than `CLOUD_SWIR` at 1.6 micrometres.
    """
    path = _existing(data, NEEDED[0])
    table = pd.read_csv(path)
    _require(table, ("site_name", "image_date", "class", *COLUMNS), path)
    table = table.dropna(subset=list(COLUMNS))
    copies = table.groupby(list(COLUMNS))["class"].transform("size")
    table = table[copies < BROKEN_COPIES].drop_duplicates(list(COLUMNS))
    bright = table["class"].isin([1, 2, 3]) & (table["B11"] > CLOUD_SWIR)
    table = table[~bright]
    out = table[list(COLUMNS)].reset_index(drop=True)
    out.insert(0, "glacier", table["site_name"].to_numpy())
    out.insert(1, "date", table["image_date"].to_numpy())
    out.insert(2, "material", table["class"].map(CLASSES).to_numpy())
    return out


def read_greenland(data: Path | str) -> pd.DataFrame:
    """Return field spectra of snow and ice of Greenland as Sentinel-2 sees them.

    Parameters
    ----------
    data : path
        Folder that holds the files of `NEEDED`.

    Returns
    -------
    DataFrame
        `sample`, `material` (snow or ice; ice is clean, with algae or with cryoconite) and
        the ten bands in `COLUMNS` (reflectance, 1).

    Notes
    -----
    A band is the mean of the spectrum (350 to 2499 nm) weighted with the spectral response
    of Sentinel-2A. Beyond 1.8 micrometres the field spectra are noise (0.06 to 0.24 at 2.2
    micrometres, where ice has 0.01): that band is replaced by 0.93 of the one at 1.6
    micrometres, the median ratio of ice in the USGS spectra.
    """
    path, response_path = _existing(data, NEEDED[1]), _existing(data, NEEDED[2])
    spectra = pd.read_csv(path)
    _require(spectra, ("Wavelength",), path)
    spectra = spectra.set_index("Wavelength").drop(columns=list(NO_SURFACE), errors="ignore")
    response = pd.read_csv(response_path)
    _require(response, ("SR_WL", *COLUMNS), response_path)
    weights = response.set_index("SR_WL")[list(COLUMNS)].reindex(spectra.index).fillna(0.0)
    values = spectra.to_numpy().T
    known = np.isfinite(values)
    total = np.where(known, values, 0.0) @ weights.to_numpy()
    bands = pd.DataFrame(total / (known @ weights.to_numpy()), columns=list(COLUMNS))
    bands["B12"] = 0.93 * bands["B11"]
    bands.insert(0, "sample", spectra.columns)
    bands.insert(1, "material", np.where(spectra.columns.isin(SNOW_SITES), "snow", "ice"))
    return bands


def _of_glaciers(table, glaciers):
    if glaciers is None:
        return table
    known = sorted(table["glacier"].unique())
    unknown = sorted(set(glaciers) - set(known))
    if unknown:
        raise AcquireError(f"no spectra of glacier {unknown}; there are {known}")
    return table[table["glacier"].isin(list(glaciers))]


def _existing(data, name):
    path = Path(data) / name
    if not path.is_file():
        missing = [needed for needed in NEEDED if not (Path(data) / needed).is_file()]
        raise AcquireError(
            f"training needs a data folder with {list(NEEDED)}, but {str(data)!r} lacks "
            f"{missing}; glaciercube.train.spectra says where they come from"
        )
    return path


def _require(table, columns, path):
    lacking = [name for name in columns if name not in table]
    if lacking:
        raise AcquireError(
            f"{path.name} needs the columns {list(columns)}, it lacks {lacking}; "
            "it is another file or another version"
        )
