"""`map`: a user's own GeoTIFFs to glacier extent, facies, outlines and an area series."""

from argparse import Namespace
from pathlib import Path

import pandas as pd

from glaciercube import api
from glaciercube.cli import steps


def run(options: Namespace) -> None:
    """Run the command."""
    out = Path(options.out)
    cube = api.from_files(options.files, options.sensor, dates=options.dates, check=options.check)
    glaciers = api.read_outlines(options.outlines) if options.outlines else None
    layers = steps.layers_of(cube, out, overwrite=options.overwrite)
    steps.products_of(layers, glaciers, out)
    print(_table(pd.read_csv(out / "series.csv")))


def _table(series):
    columns = ["area", "area_uncertainty", "area_probability", "observed_fraction", "reason"]
    frame = series.set_index(["glacier", "time"])[columns].round(3)
    return "\nGlacier area (km2) by date:\n" + frame.to_string(na_rep="-")
