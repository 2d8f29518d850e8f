"""The published facies network for every pixel: patch by patch, all at once, by convolutions.

Run: python benchmarks/patch_cnn.py [DATA] [--threads 1] [--repeats 3]
DATA (../shared/data by default) is the folder with `massive-facies-weights` (the authors' Keras
files) and `khumbu-s2` (Sentinel-2 reflectance). The floor is what one would do without this
package: the same weights in PyTorch on batches of 512 patches of 33 x 33 pixels. All ways take
turns in one process, with the same threads; the best turn of each counts. The bars are ratios to
the floor: 6 for all patches at once, whose labels must be the same, and 300 by convolutions,
whose labels differ by what is shown.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from torch.nn import functional

from glaciercube.infer import allocator, threads
from glaciercube.infer.runtimes import ref_for, runtime_of
from glaciercube.model import import_keras
from glaciercube.model.patch_cnn import REACH
from glaciercube.model.registry import network_of

BATCH, BATCHES = 512, 4
"""Patches that go through at a time, and how often in a turn."""

SCALE = 1.7
"""Reflectance (1) that the authors' inputs were divided by."""

BARS = {"all patches at once": 6, "convolutional": 300}
MODES = {"all patches at once": "exact", "convolutional": "convolutional"}


def cards_of(data, folder):
    """Return the cards of the two modes."""
    weights = data / "massive-facies-weights" / "features1_fold0.h5"
    options = {"network": "facies", "scaling": ([0.0] * 6, [SCALE] * 6)}
    return {
        way: import_keras(weights, folder, **options, arguments={"mode": mode})
        for way, mode in MODES.items()
    }


def image_of(data, season):
    """Return an image (1, band, y, x) as the network takes it."""
    with rasterio.open(data / "khumbu-s2" / f"s2_{season}_2024.tif") as file:
        return (file.read().astype(np.float32) / np.float32(SCALE))[np.newaxis]


def patches_of(image, places):
    """Return the patches (n, band, 33, 33) around some pixels."""
    wide = functional.pad(torch.from_numpy(image), (REACH,) * 4)[0]
    cut = [wide[:, y : y + 2 * REACH + 1, x : x + 2 * REACH + 1] for y, x in places]
    return torch.stack(cut)


class Ways:
    """What is timed: functions without arguments, and how many pixels each does."""

    def __init__(self, cards, image):
        rows, columns = image.shape[2:]
        places = np.random.default_rng(0).choice(rows * columns, BATCH * BATCHES, replace=False)
        self.places = np.stack(np.unravel_index(places, (rows, columns)), axis=1)
        self.network = network_of(cards["all patches at once"])
        patches = patches_of(image, self.places)
        plain = patches.split(BATCH)
        last = patches.contiguous(memory_format=torch.channels_last).split(BATCH)
        whole = (slice(0, rows), slice(0, columns))
        self.ways = {
            "per patch (floor)": (lambda: self.per_patch(plain), len(patches)),
            "per patch, channels last": (lambda: self.per_patch(last), len(patches)),
        }
        for way, card in cards.items():
            run = runtime_of(ref_for(card, "torch")).scores
            self.ways[way] = (lambda run=run: run(image, whole), rows * columns)

    @torch.inference_mode()
    def per_patch(self, batches):
        """Return scores (n, category) of patches, a batch at a time."""
        return torch.cat([self.network.of_patches(batch) for batch in batches]).numpy()

    def timed(self, repeats):
        """Return seconds per pixel of each way, by the clock and of the CPU, and what it gave."""
        seconds, found = dict.fromkeys(self.ways, (np.inf, np.inf)), {}
        for _ in range(repeats):
            for way, (run, pixels) in self.ways.items():
                start, begin = time.perf_counter(), time.process_time()
                found[way] = run()
                taken = (time.perf_counter() - start, time.process_time() - begin)
                seconds[way] = tuple(
                    min(one, other / pixels) for one, other in zip(seconds[way], taken, strict=True)
                )
        return seconds, found


def softmax(scores, axis):
    """Return probabilities."""
    scores = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return scores / scores.sum(axis=axis, keepdims=True)


def print_speed(ways, seconds, found):
    """Print how fast each way is, and how its labels compare with those of the patches."""
    alone = softmax(found["per patch (floor)"], 1)
    floor = seconds["per patch (floor)"]
    print(f"{'way':26s}  us a pixel   ratio  of CPU    bar  labels equal  differs by")
    for way, each in seconds.items():
        said = found[way]
        if said.ndim == 4:
            said = said[0][:, ways.places[:, 0], ways.places[:, 1]].T
        said = softmax(said, 1)
        equal = (said.argmax(axis=1) == alone.argmax(axis=1)).mean()
        ratio, of_cpu = (one / other for one, other in zip(floor, each, strict=True))
        print(
            f"{way:26s}  {1e6 * each[0]:10.1f}  {ratio:6.1f}  {of_cpu:6.1f}  "
            f"{BARS.get(way, '')!s:>5s}  {equal:12.5f}  {abs(said - alone).max():.1e}"
        )


def print_agreement(data, cards):
    """Print how labels by convolutions compare with those of all patches, image by image."""
    margin = cards["convolutional"].halo
    print(f"\nLabels by convolutions against all patches, {margin} pixels and more from the edge")
    for season in ("autumn", "winter"):
        image = image_of(data, season)
        whole = (slice(margin, image.shape[2] - margin), slice(margin, image.shape[3] - margin))
        one, other = (
            softmax(runtime_of(ref_for(card, "torch")).scores(image, whole), 1)
            for card in cards.values()
        )
        equal = (one.argmax(axis=1) == other.argmax(axis=1)).mean()
        print(
            f"{season}: {equal:.4f} of {one[0, 0].size} labels equal, probabilities differ by "
            f"{abs(one - other).mean():.4f} on average, {abs(one - other).max():.2f} at most"
        )


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if not (options.data / "massive-facies-weights").is_dir():
        print(f"nothing measured: no weights in {options.data}; name the folder that has them")
        return
    allocator.keep_buffers()
    threads.set_policy(threads.Policy(1, options.threads))
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        cards = cards_of(options.data, Path(folder))
        ways = Ways(cards, image_of(options.data, "autumn"))
        ways.timed(1)
        print_speed(ways, *ways.timed(options.repeats))
        print_agreement(options.data, cards)


if __name__ == "__main__":
    main()
