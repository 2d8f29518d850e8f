"""Networks in torch: as they were written, or faster with the same numbers, or in bfloat16.

On a GPU. A process uses one, the first that it sees, so give each process its own (dask-cuda does,
by `CUDA_VISIBLE_DEVICES`). Images go there and scores come back through pinned memory on streams
of their own, so that one is copied while another is computed, and blocks that wait at the same time
go through together; float32 is float32, not TF32.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from threading import BoundedSemaphore, Lock
from typing import Any

import numpy as np
import torch
from torch import nn

from glaciercube.errors import GlacierCubeError
from glaciercube.infer import threads
from glaciercube.infer.carriers import carried
from glaciercube.infer.runtime_fusion import channels_last, fused
from glaciercube.infer.runtime_gathering import Gathering
from glaciercube.infer.runtimes import require_size
from glaciercube.model import registry
from glaciercube.model.reference import ModelRef

DEVICE = "GLACIERCUBE_DEVICE"
"""Variable of the environment: "cpu", "cuda", "cuda:1" or "mps"."""

BATCH_PIXELS = {"cpu": 2**18, "cuda": 2**23, "mps": 2**21}
"""Pixels that go through a network at a time, at least one image. On a CPU one tile of 512 pixels
fills the cores; a GPU starts with more, and takes less where its memory is too small."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def device() -> str:
    """Return where torch runs in this process.

    What `GLACIERCUBE_DEVICE` says, else the first GPU of CUDA, else the CPU. Asking does not make
    a context on the GPU; the first forward pass does.
    """
    stated = os.environ.get(DEVICE, "").strip()
    if stated:
        return stated
    return "cuda:0" if torch.cuda.is_available() else "cpu"


@cache
def has_bfloat16(place: str) -> bool:
    """Return whether a device computes in bfloat16 itself.

    Parameters
    ----------
    place : str
        As `device` gives it.

    Notes
    -----
    Elsewhere torch emulates bfloat16, many times as slow as float32. On a CPU AVX512_BF16, AMX
    or the matrix instructions of Arm (bf16mm) are needed.
    """
    kind = torch.device(place).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "mps":
        return False
    flags = _cpu_flags()
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def device_name(place: str) -> str:
    """Return a device with the name of its kind of machine, such as "cuda:0 NVIDIA H100".

    Parameters
    ----------
    place : str
        As `device` gives it.
    """
    if torch.device(place).type == "cuda":
        return f"{place} {torch.cuda.get_device_name(place)}"
    return place


def open_network(ref: ModelRef, place: str = "") -> "TorchRuntime":
    """Return the network of a reference, ready to run.

    Parameters
    ----------
    ref : ModelRef
        Whose runtime is "torch", "torch-eager" or "torch-compile".
    place : str
        Device; where `device` says by default.

    Raises
    ------
    WeightsError
        If the weights are missing, corrupt, of another network or hold NaN.
    GlacierCubeError
        If torch has no such device.
    """
    place = place or device()
    try:
        target = torch.device(place)
    except RuntimeError as error:
        raise GlacierCubeError(
            f"{DEVICE} needs a device of torch such as 'cpu' or 'cuda:0', found {place!r}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if ref.runtime == "torch-eager":
        return TorchRuntime(ref, registry.own_network_of(ref), target)
    network: Any = fused(lambda: registry.own_network_of(ref), ref.card)
    return TorchRuntime(ref, channels_last(network.to(dtype=DTYPES[ref.precision])), target)


class TorchRuntime:
    """A network in torch; see `runtimes.Runtime`.

    Parameters
    ----------
    ref : ModelRef
    network : Module
        In evaluation mode, of the dtype of the reference's precision, on the CPU.
    target : torch.device
        Where it runs; the network goes there in the first forward pass.

    Attributes
    ----------
    name, precision : str
    batch_pixels : int
        That go through at a time; halved when the device's memory is too small.
    """

    def __init__(self, ref: ModelRef, network: nn.Module, target: torch.device):
        self.name, self.precision = ref.runtime, ref.precision
        self.batch_pixels = BATCH_PIXELS.get(target.type, 2**20)
        self._card, self._target = ref.card, target
        self._network: Callable[..., torch.Tensor] = network
        self._ready = target.type == "cpu" and ref.runtime != "torch-compile"
        self._lock = Lock()
        self._gathering = Gathering(self._together, _turns)
        plain = ref.runtime == "torch-eager"
        self._format = torch.contiguous_format if plain else torch.channels_last

    @torch.inference_mode()
    def scores(self, images: np.ndarray, inner: tuple[slice, slice]) -> np.ndarray:
        """Return the scores before the softmax; see `runtimes.Runtime.scores`.

        Parameters
        ----------
        images : array (n, channel, y, x), float32
            Normalised, C-contiguous.
        inner : tuple of slice
            Rows and columns to give.

        Returns
        -------
        array (n, category, rows, columns), float32

        Raises
        ------
        WeightsError
            If the network's output has not the size of its input.
        GlacierCubeError
            If one image alone is too large for the memory of the device.
        """
        given = torch.from_numpy(images if images.flags.writeable else images.copy())
        rows, columns = images[0, 0][inner].shape if len(images) else (0, 0)
        out = np.empty((len(images), len(self._card.categories), rows, columns), np.float32)
        done, pixels = 0, images.shape[2] * images.shape[3]
        while done < len(images):
            count = max(1, self.batch_pixels // max(1, pixels))
            batch = given[done : done + count]
            if self._through(batch, inner, torch.from_numpy(out[done : done + len(batch)])):
                done += len(batch)
            else:
                self._take_less(len(batch), images.shape)
        return out

    def _take_less(self, count, shape):
        """Halve the batch after it did not fit into the memory of the device."""
        if self._target.type == "cuda":
            torch.cuda.empty_cache()
        if count == 1:
            raise GlacierCubeError(
                f"the memory of {self._target} is too small for one image of {shape[2]} x "
                f"{shape[3]} pixels through the network of {self._card.name!r} in "
                f"{self.precision}; take smaller blocks, or a smaller number of processes there"
            )
        self.batch_pixels = min(self.batch_pixels, (count // 2) * shape[2] * shape[3])

    def _through(self, batch, inner, out):
        """Fill `out` with the scores of a batch; say whether the memory was large enough."""
        try:
            if self._target.type == "cuda":
                most = self.batch_pixels // max(1, batch.shape[2] * batch.shape[3])
                out.copy_(self._gathering.scores(batch, inner, most))
            else:
                with threads.slot() as policy:
                    carried(lambda: self._on_cpu(batch, inner, out, policy))
        except torch.cuda.OutOfMemoryError:
            return False
        return True

    @torch.inference_mode()
    def _on_cpu(self, batch, inner, out, policy):
        with intra_op(policy.threads):
            out.copy_(self._forward(batch.to(self._target), inner))

    @torch.inference_mode()
    def _together(self, batches, inner):
        """Return the scores of batches that go through the GPU as one."""
        try:
            return self._on_gpu(batches, inner)
        except torch.cuda.OutOfMemoryError:
            if len(batches) > 1:  # each goes alone now; others meet in smaller numbers
                self._take_less(sum(map(len, batches)), batches[0].shape)
            raise

    def _on_gpu(self, batches, inner):
        stream = torch.cuda.Stream(self._target)
        with torch.cuda.stream(stream):
            there = [one.pin_memory().to(self._target, non_blocking=True) for one in batches]
            with _launch, _true_float32():
                found = self._forward(torch.cat(there), inner).to(torch.float32).contiguous()
            back = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
            back.copy_(found, non_blocking=True)
        stream.synchronize()
        return back.split([len(one) for one in batches])

    def _forward(self, image, inner):
        """Return the scores of the rows and columns wanted, on the device, a view."""
        self._prepare()
        image = image.to(dtype=DTYPES[self.precision], memory_format=self._format)
        found = self._network(image)
        require_size(self._card, tuple(image.shape), tuple(found.shape))
        return found[:, :, inner[0], inner[1]]

    def _prepare(self):
        """Bring the network to its device, in the first forward pass."""
        if self._ready:
            return
        with self._lock:
            if not self._ready:
                network: Any = self._network
                network = network.to(self._target)
                self._network = torch.compile(network) if "compile" in self.name else network
                self._ready = True


_turns = BoundedSemaphore(2)
"""Of batches on the GPU: one is copied while the other is computed."""

_launch = Lock()


def _true_float32():
    """Return a context in which convolutions of float32 are not rounded to TF32."""
    cudnn = torch.backends.cudnn
    if not cudnn.is_available():
        return nullcontext()
    return cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


@contextmanager
def intra_op(count: int) -> Iterator[None]:
    """Let torch use a number of threads in this thread, and afterwards what it used before.

    Parameters
    ----------
    count : int
    """
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cpu_flags() -> set[str]:
    """Return what the CPU can do, as Linux names it; empty elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.lower().startswith(("flags", "features"))]
    except OSError:
        return set()
    return set(lines[0].split(":", 1)[1].split()) if lines else set()
