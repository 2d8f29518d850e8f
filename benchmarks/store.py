"""Codecs and shard sizes of a store: bytes, writing, reading and windows, against `np.save`.

Run: python benchmarks/store.py [--size 2560] [--repeats 2] [--subjects ...] [--every] [--clock cpu]
Everything runs in one process, setting after setting in turn; the best of the repeats counts.
Read the ratios to the floor, not the seconds. Files stay in the page cache: what a disk or network
adds is bytes over its speed, and "worth it below" says up to which speed of one reader the smaller
codec wins. "figure" is what the store does now, through plain zarr and through `write` and `read`
(which scale, check and keep the ledger); "floor" is the array in one file; the rest are peers.
A subject is a scene of at most 1024 pixels laid side by side: no chunk here sees a repetition.
"""

import argparse
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import rasterio
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning
from scipy import ndimage
from zarr.codecs import BloscCodec, ZstdCodec

import glaciercube as gcube
from glaciercube import grid, radiometry, schema
from glaciercube.infer.lazy import predict
from glaciercube.model.zoo import card_of
from glaciercube.simulate.archive import grid_of_size
from glaciercube.store.layout import BLOCK, Layout, Stored, stored_variable
from glaciercube.store.reading import read, source_of
from glaciercube.store.template import encoding_of
from glaciercube.store.writing import write
from glaciercube.windows import Window

SCENE = 1024
"""Rows and columns of the simulated scene."""

CODECS: dict[str, Any] = {
    "no codec": None,
    "zstd 3 (zarr's default)": ZstdCodec(level=3),
    "blosc lz4 5 bitshuffle": BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
    "blosc lz4 5 shuffle": BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
    "blosc zstd 1 bitshuffle": BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
    "blosc zstd 1 shuffle": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
    "blosc zstd 3 bitshuffle": BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
}
SHAPES = ((1024, 128), (1024, 256), (1024, 512), (2048, 128), (2048, 256), (2048, 512), (512, 512))
"""Pixels of a shard and of its chunks; the last is chunks without shards."""

TILE = Window(512 - 96, 1024 + 96, 512 - 96, 1024 + 96)
"""A tile of 512 with the halo of a U-Net."""

REGION = Window(1024 - 15, 2048 + 15, 1024 - 15, 2048 + 15)
"""A block of 1024 with the halo of the bundled network."""

DATES = ("2021-07-10", "2021-08-20")
"""The second has some clouds."""

LAYERS = ("facies", "probability", "confidence")

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real scenes, if they are there."""

WINDOWS = 3
"""Times that a window is read in a run, the best of which counts."""

STEPS = ("write", "read", "tile", "block")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is stored: the codes of one variable."""

    title: str
    stored: Stored
    codes: np.ndarray
    """(time, ..., y, x) or (y, x), as on disk."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to store a subject in plain zarr."""

    shards: tuple[int, ...] | None
    chunks: tuple[int, ...]
    codec: Any

    @property
    def step(self) -> int:
        """Rows and columns written at a time."""
        return (self.shards or self.chunks)[-1]

    def __str__(self) -> str:
        """Return codec, shard and chunk."""
        name = next((name for name, codec in CODECS.items() if codec == self.codec), "other codec")
        inner = f"{self.chunks[-1]}"
        return f"{name}, " + (f"{self.step} of {inner}" if self.shards else f"chunks of {inner}")


def main() -> None:
    """Print a table for each subject."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=2560, help="at least 2064")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--subjects", nargs="+", help="beginnings of their titles; all if none")
    parser.add_argument("--every", action="store_true", help="every codec with every shape")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--folder", help="where to write, such as /dev/shm")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
    chosen = tuple(options.subjects or [""])
    print(
        f"{options.size} x {options.size} pixels, best of {options.repeats}, {options.clock} time"
    )
    for subject in subjects_of(options.size):
        if subject.title.startswith(chosen):
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                report(subject, options, Path(folder))


def subjects_of(size: int) -> Iterable[Subject]:
    """Yield what a simulated archive gives, and real scenes where there are data."""
    cube, layers, truth = simulated()
    yield subject_of("reflectance, simulated", "reflectance", cube["reflectance"].values, size)
    for name, scene in {"vinciguerra-s2": vinciguerra, "khumbu-s2": khumbu}.items():
        if (DATA / name).is_dir():
            yield subject_of(f"reflectance, real {name}", "reflectance", scene(), size)
    yield subject_of("facies, simulated truth", "facies", truth, size)
    for name in LAYERS:
        yield subject_of(f"{name}, predicted", name, layers[name].values, size)
    yield subject_of("flag, simulated cloud", "cloud", cube["cloud"].values, size)
    if (DATA / "versoyen-snowmask").is_dir():
        yield subject_of("flag, real snow", "snow", versoyen(), size)
    yield subject_of("elevation, simulated", "elevation", cube["elevation"].values, size)


def simulated() -> tuple[xr.Dataset, xr.Dataset, np.ndarray]:
    """Return the cube of one day as `load` gives it, what a network sees in it, and the truth."""
    with tempfile.TemporaryDirectory() as folder:
        archive = gcube.simulate(f"{folder}/archive", size=SCENE, dates=DATES)
        glaciers = gcube.read_outlines(archive.outlines)
        items = gcube.search(archive.catalog, glaciers, DATES[-1], sensor="sentinel-2-l2a")
        cube = gcube.load(items, grid_of_size(SCENE), dem="cop-dem-glo-30").compute()
        with rasterio.open(archive.truth / f"facies_{DATES[-1]}.tif") as file:
            truth = file.read()
    return cube, predict(cube, [card_of("facies")], outputs=LAYERS).compute(), truth


def subject_of(title: str, name: str, values: np.ndarray, size: int) -> Subject:
    """Return values as the store encodes them, repeated to a size."""
    dims = {2: ("y", "x"), 3: ("time", "y", "x"), 4: ("time", "band", "y", "x")}[values.ndim]
    if name == "probability":
        dims = ("time", "category", "y", "x")
    shape = (*values.shape[:-2], size, size)
    stored = stored_variable(name, dims, shape, values.dtype)
    return Subject(title=title, stored=stored, codes=tiled(stored.encode(values)[0], size))


def tiled(codes: np.ndarray, size: int) -> np.ndarray:
    """Return codes side by side up to a size."""
    times = -(-size // codes.shape[-1])
    whole = np.tile(codes, (1,) * (codes.ndim - 2) + (times, times))
    return np.ascontiguousarray(whole[..., :size, :size])


def geobox_of(shape: tuple[int, ...]) -> GeoBox:
    """Return a grid of 10 m."""
    west, south = 600_000, 5_000_000
    box = (west, south, west + 10 * shape[1], south + 10 * shape[0])
    return GeoBox.from_bbox(box, "EPSG:32632", resolution=10)


def vinciguerra() -> np.ndarray:
    """Return reflectance (1, 10, 512, 512) of four summers of a real glacier, 128 pixels each.

    The file repeats the pixels of 20 m; here they lie on 10 m as `load` lays them (bilinear).
    """
    years = []
    for year in (2019, 2020, 2021, 2022):
        with rasterio.open(DATA / "vinciguerra-s2" / f"vinciguerra_s2_l1c_{year}.tif") as file:
            numbers = file.read([2, 3, 4, 5, 6, 7, 8, 9, 12, 13])[:, :128, :128]
        # Baseline 04.00 adds 1000 since 2022; no metadata of these files say so.
        values = radiometry.unpack(numbers, 1e-4, -0.1 if year >= 2022 else 0.0, 0)
        for band in (3, 4, 5, 7, 8, 9):
            coarse = np.nan_to_num(values[band, ::2, ::2])
            values[band] = ndimage.zoom(coarse, 2, order=1, mode="nearest", grid_mode=True)
        years.append(values)
    return turned(np.block([[[years[0], years[1]], [years[2], years[3]]]]))[np.newaxis]


def khumbu() -> np.ndarray:
    """Return reflectance (1, 6, 512, 512) of a real debris-covered glacier."""
    with rasterio.open(DATA / "khumbu-s2" / "s2_winter_2024.tif") as file:
        return turned(file.read())[np.newaxis]


def versoyen() -> np.ndarray:
    """Return the snow (1, 512, 512) of a date of a real basin, clouds not taken out."""
    with rasterio.open(DATA / "versoyen-snowmask" / "snowmask_143dates_2017-2025.nc") as file:
        return file.read(10)[np.newaxis, :512, :512] == 1


def turned(tile: np.ndarray) -> np.ndarray:
    """Return a square (band, n, n) in four orientations, so that no row of it comes twice."""
    flipped = tile.swapaxes(1, 2)
    below = np.concatenate([flipped, flipped[:, ::-1, ::-1]], axis=2)
    return np.concatenate([np.concatenate([tile, tile[:, ::-1, ::-1]], axis=2), below], axis=1)


def settings_of(subject: Subject, every: bool) -> tuple[Setting, list[Setting]]:
    """Return how the store writes a subject now, and what to compare it with."""
    layout = layout_for(subject)
    encoding = encoding_of(subject.stored, layout)
    (codec,) = encoding["compressors"]
    now = Setting(shards=encoding["shards"], chunks=encoding["chunks"], codec=codec)
    head = subject.codes.shape[:-2]
    shapes = [
        replace(now, shards=(*head, shard, shard) if shard > chunk else None,
                chunks=(*head, chunk, chunk))
        for shard, chunk in SHAPES
    ]  # fmt: skip
    if every:
        peers = [replace(shape, codec=codec) for shape in shapes for codec in CODECS.values()]
    else:
        peers = [*(replace(now, codec=codec) for codec in CODECS.values()), *shapes]
    return now, [peer for peer in peers if peer != now]


def layout_for(subject: Subject) -> Layout:
    """Return the store's own layout of a subject."""
    rows, columns = subject.codes.shape[-2:]
    block = (BLOCK, BLOCK)
    return Layout(times=1, rows=rows, columns=columns, block=block, variables=(subject.stored,))


class Raw:
    """The floor: one file."""

    def __init__(self, subject: Subject, folder: Path):
        self.codes, self.path = subject.codes, folder / "raw.npy"

    def write(self) -> None:
        """Write everything."""
        np.save(self.path, self.codes)

    def read(self) -> np.ndarray:
        """Read everything."""
        return np.load(self.path)

    def window(self, window: Window) -> np.ndarray:
        """Read a window."""
        return np.array(np.load(self.path, mmap_mode="r")[(..., *window.slices)])


class Plain:
    """Plain zarr."""

    def __init__(self, subject: Subject, folder: Path, setting: Setting):
        self.codes, self.setting, self.path = subject.codes, setting, folder / "plain.zarr"
        self.fill = subject.stored.blank

    def write(self) -> None:
        """Write block after block, as the store does."""
        self.array = zarr.create_array(
            self.path,
            shape=self.codes.shape,
            dtype=self.codes.dtype,
            shards=self.setting.shards,
            chunks=self.setting.chunks,
            compressors=[self.setting.codec] if self.setting.codec else None,
            fill_value=self.fill,
        )
        rows, columns = self.codes.shape[-2:]
        step = max(self.setting.step, BLOCK)
        for y in range(0, rows, step):
            for x in range(0, columns, step):
                where = (..., slice(y, y + step), slice(x, x + step))
                self.array[where] = self.codes[where]

    def read(self) -> np.ndarray:
        """Read everything."""
        return np.asarray(self.array[...])

    def window(self, window: Window) -> np.ndarray:
        """Read a window."""
        return np.asarray(self.array[(..., *window.slices)])


class Named:
    """An array in memory that Dask knows by its name, as it knows what is read from files.

    Else the time to make a fingerprint of all its numbers would be measured.
    """

    def __init__(self, values: np.ndarray, name: str):
        self.values, self.name = values, name
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, where: Any) -> np.ndarray:
        """Return a part of the numbers."""
        return self.values[where]

    def __dask_tokenize__(self) -> tuple[str, str]:
        """Return the name."""
        return ("benchmark", self.name)


class Own:
    """The store's own `write` and `read`."""

    def __init__(self, subject: Subject, folder: Path):
        self.stored, self.path = subject.stored, folder / "own.zarr"
        values = self.stored.decode(subject.codes)
        chunks = values.shape[:-2] + (BLOCK, BLOCK)
        lazy = da.from_array(Named(values, subject.title), chunks=chunks, meta=values[:0])
        coords: dict[str, Any] = {}
        if "time" in self.stored.dims:
            coords["time"] = [np.datetime64("2021-08-01", "ns")]
        if values.ndim == 4:
            coords[self.stored.dims[1]] = [f"layer{i}" for i in range(values.shape[1])]
        attrs = {"units": schema.VARIABLES[self.stored.name].units}
        dataset = xr.Dataset({self.stored.name: (self.stored.dims, lazy, attrs)}, coords=coords)
        self.dataset = grid.georeferenced(dataset, geobox_of(values.shape[-2:]))

    def write(self) -> None:
        """Write with ledger and checksums."""
        write(self.dataset, self.path)
        self.lazy = read(self.path)[self.stored.name]

    def read(self) -> np.ndarray:
        """Read everything and scale it."""
        return self.lazy.values

    def window(self, window: Window) -> np.ndarray:
        """Read a window as a task of `predict` does."""
        source = source_of(self.lazy)
        assert source is not None, "what read gave has a source"
        return source.load(0, window)


def report(subject: Subject, options: argparse.Namespace, folder: Path) -> None:
    """Measure all settings of a subject in turn and print them."""
    now, peers = settings_of(subject, options.every)
    ways: dict[str, Any] = {
        "floor   np.save, np.load": Raw(subject, folder),
        f"figure  {now}": Plain(subject, folder, now),
        "figure  the same by write and read": Own(subject, folder),
    } | {f"peer    {peer}": Plain(subject, folder, peer) for peer in peers}
    found: dict[str, list[dict]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, way in ways.items():
            found[name].append(measured(way, subject))
    clock = ("wall", "cpu").index(options.clock)
    best = {name: best_of(runs, clock) for name, runs in found.items()}
    table(subject, best)
    worth(best, f"figure  {now}", subject.codes.nbytes)


def measured(way: Any, subject: Subject) -> dict[str, Any]:
    """Return bytes and seconds of one run, and prove that it gives the codes back."""
    took = {"write": timed(way.write)[0]}
    took["read"], values = timed(way.read)
    if values.dtype == subject.codes.dtype:
        assert np.array_equal(values, subject.codes, equal_nan=values.dtype.kind == "f")
    del values
    for step, window in {"tile": TILE, "block": REGION}.items():
        again = [timed(partial(way.window, window))[0] for _ in range(WINDOWS)]
        took[step] = np.min(again, axis=0)
    files = [way.path] if way.path.is_file() else [p for p in way.path.rglob("*") if p.is_file()]
    size = sum(file.stat().st_size for file in files)
    shutil.rmtree(way.path) if way.path.is_dir() else way.path.unlink()
    return {"bytes": size, "files": len(files), **took}


def timed(step: Callable[[], Any]) -> tuple[np.ndarray, Any]:
    """Return seconds of the wall and of the processor, and what came out."""
    before = np.array([time.perf_counter(), time.process_time()])
    out = step()
    return np.array([time.perf_counter(), time.process_time()]) - before, out


def best_of(runs: list[dict], clock: int) -> dict[str, float]:
    """Return the least of each step."""
    best = {step: min(float(run[step][clock]) for run in runs) for step in STEPS}
    return {"bytes": runs[0]["bytes"], "files": runs[0]["files"], **best}


def table(subject: Subject, best: dict[str, dict[str, float]]) -> None:
    """Print one line per setting: its figures, and their ratios to the floor."""
    size = subject.codes.nbytes
    floor = next(iter(best.values()))
    shape = " x ".join(map(str, subject.codes.shape))
    print(f"\n{subject.title}: {shape} {subject.codes.dtype}, {size / 1e6:.0f} MB")
    heads = ("write MB/s", "read MB/s", "704 px ms", "1054 px ms")
    print(f"{'':50}{'bytes':>7}{'files':>6}" + "".join(f"{h:>12}{'ratio':>7}" for h in heads))
    for name, run in best.items():
        line = f"{name:50}{run['bytes'] / floor['bytes']:7.3f}{run['files']:6.0f}"
        for step in STEPS:
            speed = size / 1e6 / run[step] if step in ("write", "read") else 1e3 * run[step]
            line += f"{speed:12.1f}{run[step] / floor[step]:7.1f}"
        print(line)


def worth(best: dict[str, dict[str, float]], now: str, size: int) -> None:
    """Print up to which speed of storage a smaller setting reads a tile or everything sooner."""
    figure = best[now]
    for name, run in best.items():
        saved, lost = figure["bytes"] - run["bytes"], run["read"] - figure["read"]
        if name.startswith("peer") and saved > 0.005 * size:
            limit = (
                f"below {saved / lost / 1e6:.0f} MB/s" if lost > 0 else "always (faster as well)"
            )
            print(f"  worth it for reading all {limit}: {name.removeprefix('peer    ')}")


if __name__ == "__main__":
    main()
