"""How much memory a worker needs, by a stated formula, and how many threads it may have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask
from dask.utils import format_bytes

from glaciercube import sensors
from glaciercube.errors import GlacierCubeError
from glaciercube.infer.checks import halo_of
from glaciercube.infer.dates import name_of
from glaciercube.model.card import ONNX, ModelCard
from glaciercube.optional import load

MIB = 2**20

PROCESS = 620 * MIB
"""A worker that has imported what it needs (Python, xarray, rasterio, torch, distributed)."""

GDAL_CACHE = 256 * MIB
"""Of decoded blocks, as the steps set it; see `acquire.patience.CACHE_BYTES`."""

THREAD = 96 * MIB
"""What a thread needs besides the pixels: scratch memory of warping and of convolutions, graph."""

BYTES_INGESTED = 24
"""Per pixel of a block and band: the numbers of two scenes, one laid over the other (float32), a
copy that is coded, its codes, and what was read."""

BYTES_FLAGS = 48
"""Per pixel of a block: quality, flags and elevation, as they are read and stored."""

BYTES_READ = 16
"""Per pixel of a block with its halo, band and date: codes, reflectance (float32), the chosen
bands and their normalised copy."""

BYTES_REPORTED = 64
"""Per pixel of a block: planes, layers and their codes."""

KEPT = 2.0
"""How much more memory a network's tensors take where the allocator keeps what it frees, as it
does with the environment of `workers.ENVIRONMENT`: the holes between them."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What the memory of a worker depends on."""

    block: int
    """Rows and columns of a block."""

    bands: int
    halo: int
    """Pixels read around a block."""

    networks: float
    """Bytes of all weights."""

    activations: float
    """Bytes per pixel of the largest network's tensors that live at a time."""

    dates: int = 1
    """Most dates that are read for one, as networks see several at once."""

    def bytes(self, threads: int) -> int:
        """Return the memory (bytes) that a worker with so many threads stays below.

        Parameters
        ----------
        threads : int
            Of the worker; each works on one block at a time.

        Notes
        -----
        ::

            process + GDAL cache + weights
              + threads x (thread + the larger of
                  ingest:  block^2 x (24 x (bands + 1) + 48)
                  predict: (block + 2 halo)^2 x (2 x activations + 16 x bands x dates)
                           + block^2 x 64)

        with process 620 MiB, GDAL cache 256 MiB and thread 96 MiB. `activations` is found
        by `model.footprint.activation_bytes`, or `infer.onnx_footprint.footprint`, for the
        facies network of this package about 1 kB per pixel; `dates` is 1 for networks of one
        date. It holds whatever the extent of a tile and the number of its dates.
        """
        outer = self.block + 2 * self.halo
        ingested = self.block**2 * (BYTES_INGESTED * (self.bands + 1) + BYTES_FLAGS)
        predicted = outer**2 * (KEPT * self.activations + BYTES_READ * self.bands * self.dates)
        predicted += self.block**2 * BYTES_REPORTED
        each = THREAD + max(ingested, predicted)
        return int(PROCESS + GDAL_CACHE + self.networks + threads * each)

    def limit(self, threads: int) -> int:
        """Return the least memory limit (bytes) of a worker with so many threads.

        Parameters
        ----------
        threads : int

        Notes
        -----
        A worker of Dask takes no task above a share of its limit, 80 % unless set otherwise
        (`distributed.worker.memory.pause`).
        """
        return int(self.bytes(threads) / pause())

    def threads(self, limit: float, most: int) -> int:
        """Return how many threads a worker may have.

        Parameters
        ----------
        limit : float
            Its memory limit (bytes).
        most : int
            More are not wanted.

        Raises
        ------
        GlacierCubeError
            If it is too small for one.
        """
        found = [count for count in range(1, most + 1) if self.limit(count) <= limit]
        if not found:
            raise GlacierCubeError(
                f"a worker with one thread needs a memory limit of {format_bytes(self.limit(1))} "
                f"for blocks of {self.block} pixels and {self.bands} bands, found "
                f"{format_bytes(int(limit))}; give it more, or plan smaller blocks (block=)"
            )
        return found[-1]


def pause() -> float:
    """Return the share of its memory limit up to which a worker takes tasks."""
    load("distributed")  # which knows the defaults
    share = dask.config.get("distributed.worker.memory.pause")
    return float(share) if share else 1.0


def demand_of(options: Mapping[str, Any], cards: Sequence[ModelCard]) -> Demand:
    """Return what the memory of a job's workers depends on.

    Parameters
    ----------
    options : mapping
        Of the plan: `sensor` and `block` are read.
    cards : sequence of ModelCard
        Its networks.
    """
    halo, _ = halo_of(None, cards)
    seen = {name_of(card): card.dates["count"] for card in cards if card.dates}
    each = [_footprint(card) for card in cards]
    return Demand(
        block=int(options["block"]),
        bands=max(len(row.names) for row in sensors.rows_of(options["sensor"])),
        halo=halo,
        networks=sum(weights for _, weights in each),
        activations=max(activations for activations, _ in each),
        dates=1 + sum(count - 1 for count in seen.values()),
    )


def _footprint(card):
    """Return the bytes of a network's tensors per pixel, and of its weights."""
    if card.architecture == ONNX:
        return load("glaciercube.infer.onnx_footprint").footprint(card)
    found = load("glaciercube.model.footprint")
    return found.activation_bytes(card), found.weight_bytes(card)


def require_room(workers: Mapping[str, Mapping[str, Any]], demand: Demand) -> None:
    """Raise an error if workers have less memory than their threads need.

    Parameters
    ----------
    workers : mapping
        As the scheduler describes them, by address: `nthreads` and `memory_limit` (bytes; 0 or
        None where there is none).
    demand : Demand

    Raises
    ------
    GlacierCubeError
    """
    problems = [
        f"{address} has {worker['nthreads']} threads and {format_bytes(worker['memory_limit'])}"
        for address, worker in workers.items()
        if worker.get("memory_limit") and worker["memory_limit"] < demand.limit(worker["nthreads"])
    ]
    if not problems:
        return
    each = demand.bytes(2) - demand.bytes(1)
    raise GlacierCubeError(
        f"workers need a memory limit of {format_bytes(demand.limit(1))} with one thread and "
        f"{format_bytes(int(each / pause()))} more for each further one, found:\n  "
        + "\n  ".join(problems[:10])
        + "\nstart them with fewer threads or more memory, or plan smaller blocks (block=)"
    )
