"""What the commands share: stores to outlines, series and pictures, each made once."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import xarray as xr
from matplotlib.figure import Figure

import glaciercube
from glaciercube import api
from glaciercube.infer.checks import check_cards, check_cube
from glaciercube.model.zoo import card_of

CARDS = ("extent", "facies")
"""The bundled networks that the commands run, in one reading of each block."""

RECORD = "products.json"


def layers_of(cube: xr.Dataset, out: Path, *, overwrite: bool = False) -> xr.Dataset:
    """Write a cube and the layers that the bundled networks see in it; return the layers.

    Parameters
    ----------
    cube : Dataset
        Lazy.
    out : Path
        Folder of `cube.zarr` and `layers.zarr`; blocks that are done stay as they are.
    overwrite : bool
        Whether stores of another input are replaced.

    Raises
    ------
    SchemaError, WeightsError
        If the cube lacks what the networks need, or their weights are corrupt; nothing is
        written then.
    """
    cards = check_cards([card_of(name) for name in CARDS])
    check_cube(cube, cards)
    out.mkdir(parents=True, exist_ok=True)
    print(api.write(cube, out / "cube.zarr", overwrite=overwrite, progress=True))
    layers = api.predict(api.read(out / "cube.zarr"), CARDS)
    print(api.write(layers, out / "layers.zarr", overwrite=overwrite, progress=True))
    return api.read(out / "layers.zarr")


def products_of(layers: xr.Dataset, glaciers: gpd.GeoDataFrame | None, out: Path) -> bool:
    """Write outlines, series and pictures unless they are there already.

    Parameters
    ----------
    layers : Dataset
        As read from `layers.zarr`.
    glaciers : GeoDataFrame or None
        Outlines to report by; the whole grid is one row if None.
    out : Path
        Folder for `outlines.parquet`, `series.csv`, `map.png`, `facies.png` and `series.png`.

    Returns
    -------
    bool
        True if they were made now, False if they were there.
    """
    makers: dict[str, Callable[[Path], None]] = {}
    yearly = api.annual(layers)
    series = api.summarize(layers, glaciers)

    def outlines_file(path):
        api.outlines(yearly, within=glaciers).to_parquet(path, write_covering_bbox=True)

    def series_file(path):
        series.load().drop_vars("spatial_ref", errors="ignore").to_dataframe().to_csv(path)

    def map_file(path):
        _save(api.plot(yearly, layer="extent", outlines=glaciers), path)

    def facies_file(path):
        _save(api.plot(yearly, layer="facies", outlines=glaciers), path)

    def plot_file(path):
        _save(api.plot(series.load()), path)

    makers = {
        "outlines.parquet": outlines_file,
        "series.csv": series_file,
        "map.png": map_file,
        "facies.png": facies_file,
        "series.png": plot_file,
    }
    return make_once(out, identity(layers, glaciers), makers)


def identity(layers: xr.Dataset, glaciers: gpd.GeoDataFrame | None) -> str:
    """Return what the products depend on, as a hash."""
    digest = hashlib.sha256(glaciercube.__version__.encode())
    for name in sorted(map(str, layers.data_vars)):
        digest.update(str(getattr(layers[name].data, "name", name)).encode())
    if glaciers is not None:
        digest.update(glaciers.to_wkb().to_csv().encode())
    return digest.hexdigest()


def make_once(folder: Path, depends_on: str, makers: dict[str, Callable[[Path], None]]) -> bool:
    """Make files that are missing, changed or out of date; return whether any was made.

    Each file is written beside its place and renamed when it is whole; the record
    `products.json` holds what they depend on and the hash of each.
    """
    record_file = folder / RECORD
    record = json.loads(record_file.read_text()) if record_file.exists() else {}
    done = record.get("files", {}) if record.get("depends_on") == depends_on else {}
    todo = [name for name in makers if name not in done or done[name] != _hash(folder / name)]
    for name in todo:
        beside = folder / f".{name}.partial{Path(name).suffix}"
        makers[name](beside)
        os.replace(beside, folder / name)
        print(f"wrote {folder / name}")
        done[name] = _hash(folder / name)
        text = json.dumps({"depends_on": depends_on, "files": done}, indent=1)
        temporary = record_file.with_suffix(".partial")
        temporary.write_text(text)
        os.replace(temporary, record_file)
    if not todo:
        print(f"{', '.join(makers)}: done before, nothing to do")
    return bool(todo)


def _hash(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _save(axes, path):
    figure = _figure(axes)
    figure.savefig(path, dpi=120)
    figure.clear()


def _figure(axes) -> Figure:
    first = axes.flat[0] if hasattr(axes, "flat") else axes
    return first.figure
