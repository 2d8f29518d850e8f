"""`demo`: the main job from a simulated archive to a table of truth against estimate."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from rasterio.windows import from_bounds

from glaciercube import api, grid, schema
from glaciercube.cli import steps
from glaciercube.metrics import iou

SENSOR = "sentinel-2-l2a"


def run(options: Namespace) -> None:
    """Run the command."""
    out = Path(options.out)
    print("The input of this demo is SIMULATED: a made-up glacier with known truth.\n")
    archive = api.simulate(out / "archive", seed=options.seed, progress=True)
    glaciers = api.read_outlines(archive.outlines)
    items = api.search(archive.catalog, glaciers, "2021/2023", sensor=SENSOR)
    print(f"search found {len(items)} scenes of {SENSOR}")
    around = glaciers.set_geometry(glaciers.to_crs(glaciers.estimate_utm_crs()).buffer(500))
    cube = api.load(items, around, resolution=10, dem="cop-dem-glo-30")
    layers = steps.layers_of(cube, out)
    steps.products_of(layers, glaciers, out)
    print(_table(layers, pd.read_csv(out / "series.csv"), archive.truth))
    print("\nAll figures above are of SIMULATED scenes; they say how the steps fit together,")
    print("not how well real glaciers are mapped. The same job on your own files:")
    print("python -m glaciercube map FILE... --sensor sentinel-2-l1c --out DIR")


def _table(layers: xr.Dataset, series: pd.DataFrame, truth: Path) -> str:
    """Return truth against estimate by date, as text."""
    true = pd.read_csv(truth / "truth.csv").set_index("date").to_dict("index")
    dates = series["time"].str[:10]
    rows = []
    for date in sorted(set(dates)):
        seen = series[dates == date]
        extent = layers["extent"].sel(time=date).squeeze("time", drop=True).load()
        area = seen["area"].sum(min_count=len(seen))
        rows.append(
            {
                "date": date,
                "observed": seen["observed_fraction"].mean(),
                "area true": true[date]["glacier_area_km2"],
                "area": area,
                "IoU": _iou(extent, truth / f"extent_{date}.tif"),
                "snowline true": true[date]["snowline_m"],
                "snowline": seen["snowline"].mean(),
                "AAR true": true[date]["aar"],
                "AAR": seen["aar"].mean(),
            }
        )
    frame = pd.DataFrame(rows).set_index("date").round(2)
    head = "\nSimulated truth against estimate (area in km2, snowline in m; IoU over the whole grid"
    return f"{head}, observed pixels):\n{frame.to_string(na_rep='-')}"


def _iou(extent: xr.DataArray, path: Path) -> float:
    """Return the IoU of one date over observed pixels."""
    bounds = grid.grid_of(extent, "the extent").boundingbox
    with rasterio.open(path) as file:
        window = from_bounds(*bounds.bbox, transform=file.transform)
        true = file.read(1, window=window.round_offsets().round_lengths(), boundless=True)
    observed = (extent.values != schema.NODATA) & (true != schema.NODATA)
    return float(np.round(iou(true == 1, extent.values == 1, observed), 3))
