"""How the bundled networks do on real data, against plain thresholds.

Run: python benchmarks/accuracy.py [DATA]
DATA (../shared/data by default) is the folder with `vinciguerra-s2` (Sentinel-2 L1C images of
Vinciguerra glacier, Tierra del Fuego, with hand-drawn outlines of 2019 and 2020) and
`usgs-benchmark-spectra`. The networks were trained on simulated scenes and no threshold was
set by the outlines, but how far around a pixel the extent network looks was chosen with them in
sight, so they are no independent test. Of the spectra, those of the glacier Sperry were in no
training scene.
"""

import argparse
from pathlib import Path

import numpy as np
import rasterio

from glaciercube.indices import snow_by_thresholds
from glaciercube.metrics import iou
from glaciercube.model.channels import stack
from glaciercube.model.registry import network_of
from glaciercube.model.zoo import card_of
from glaciercube.radiometry import to_reflectance
from glaciercube.train import loop, spectra

YEARS = (2019, 2020)
SAMPLES = 300
"""Spectra of each material and glacier that are judged, drawn at random."""
ROWS = {"blue": 1, "green": 2, "red": 3, "nir": 7, "swir16": 11, "swir22": 12}
"""Where each band stands in the files of Vinciguerra."""


def read_vinciguerra(data, year):
    """Return reflectance (band, y, x), NaN where not measured, of the bands in `ROWS`."""
    with rasterio.open(Path(data) / f"vinciguerra-s2/vinciguerra_s2_l1c_{year}.tif") as source:
        numbers = source.read([row + 1 for row in ROWS.values()])
    offset = -1000 if year >= 2022 else 0  # processing baseline 04.00
    return to_reflectance(numbers, 1e-4, offset)


def read_label(data, year):
    """Return the hand-drawn glacier, bool (y, x)."""
    with rasterio.open(Path(data) / f"vinciguerra-s2/label_{year}.tif") as source:
        return source.read(1) > 0


def probabilities(card, reflectance, bands):
    """Return the network's calibrated probabilities (category, y, x) of one image."""
    channels, _ = stack(reflectance, tuple(bands), card)
    scores = loop.scores_of(network_of(card), channels[np.newaxis])[0] / card.temperature
    scores = np.exp(scores - scores.max(axis=0))
    return scores / scores.sum(axis=0)


def extent_rows(data, card):
    """Return a row (year, thresholds, network, network where observed, share observed)."""
    rows = []
    for year in YEARS:
        values, truth = read_vinciguerra(data, year), read_label(data, year)
        measured = np.isfinite(values).all(axis=0)
        plain = snow_by_thresholds(values[1], values[3], values[4])
        said = probabilities(card, values, ROWS).argmax(axis=0)
        glacier = (said == card.categories.index("glacier")) & measured
        observed = (said != card.categories.index("obscured")) & measured
        rows.append(
            (year, iou(truth, plain), iou(truth, glacier), iou(truth, glacier, observed),
             observed.mean())
        )  # fmt: skip
    return rows


def spectra_rows(data, card):
    """Return a row (glacier, samples, share right of snow, ice, debris, water) per glacier.

    Each sample is a uniform image of its own: the network has no surroundings to go by.
    """
    table = spectra.read_usgs(data)
    rows = []
    for glacier, group in table.groupby("glacier"):
        shares = []
        for material in ("snow", "ice", "debris", "water"):
            part = group[group["material"] == material]
            part = part.sample(min(len(part), SAMPLES), random_state=0)
            shares.append(_share(card, part, material) if len(part) else np.nan)
        rows.append((glacier, len(group), *shares))
    return rows


def _share(card, part, material):
    chosen = [spectra.BANDS.index(name) for name in ROWS]
    values = part[list(spectra.COLUMNS)].to_numpy(np.float32)[:, chosen]
    size = 2 * card.halo + 1
    images = np.broadcast_to(values[:, :, None, None], (*values.shape, size, size))
    right = 0
    wanted = {"snow": ("snow",), "ice": ("ice", "firn"), "debris": ("debris", "land"),
              "water": ("water",)}[material]  # fmt: skip
    network = network_of(card)
    for start in range(0, len(images), 256):
        scores = loop.scores_of(network, np.ascontiguousarray(images[start : start + 256]))
        said = scores[:, :, card.halo, card.halo].argmax(axis=1)
        right += sum(card.categories[number] in wanted for number in said)
    return right / len(images)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    data = parser.parse_args().data
    if not (data / "vinciguerra-s2").is_dir():
        print(f"nothing measured: no real data in {data}; name the folder that has them")
        return
    card = card_of("extent")
    print(f"Vinciguerra, intersection over union with the hand-drawn glacier ({card.name}"
          f" {card.version})")  # fmt: skip
    print("year  thresholds  network  network where observed  observed share")
    for year, plain, strict, seen, share in extent_rows(data, card):
        print(f"{year}  {plain:10.3f}  {strict:7.3f}  {seen:22.3f}  {share:14.3f}")
    card = card_of("facies")
    print("\nUSGS spectra, share put into the right category without surroundings")
    print("(ice or firn for ice, debris or land for debris; Sperry was held out of training,")
    print("the others were trained on; shadowed snow is left out)")
    print("glacier       samples   snow    ice  debris  water")
    for glacier, count, *shares in spectra_rows(data, card):
        print(f"{glacier:12s}  {count:7d}  " + "  ".join(f"{share:5.3f}" for share in shares))


if __name__ == "__main__":
    main()
