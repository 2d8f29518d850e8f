"""Networks in 8-bit integers: ranges found once on some images, and written beside the weights."""

import contextlib
import hashlib
import io
import itertools
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr

from glaciercube.errors import SchemaError, WeightsError
from glaciercube.infer import checks
from glaciercube.infer.choices import AGREEMENT
from glaciercube.infer.cubes import Both, dask_arrays, readers
from glaciercube.infer.dates import away_by, seen_by
from glaciercube.infer.reads import Read
from glaciercube.infer.runtimes import ref_for, reference_of, runtime_of
from glaciercube.infer.work import Work
from glaciercube.model import channels
from glaciercube.model.card import ModelCard
from glaciercube.model.reference import IN_MEMORY
from glaciercube.model.weights import check_weights_file
from glaciercube.optional import load
from glaciercube.windows import Window

ENDS = ((0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 3))
"""How many of the first and of the last convolutions stay in float32, tried in this order: what
enters a network and what leaves it has the widest ranges."""

OUTLIERS = (1e-5, 0.0)
"""Share of the values of a layer in an image that lie beyond its range at each end, tried in this
order: a few very bright pixels would make all steps coarse, or be what tells classes apart."""

FEWEST = 8
"""Images, those that are held out among them."""

HELD_OUT = 4
"""Every fourth image is held out to count agreement on, if no others are given."""

TRIES = 20
"""Places looked at for each image, as clouds and the ends of a swath may hide some."""

_CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData")
"""OpenVINO's names of what is computed in integers. All else stays in float32."""


def calibrate(
    card: ModelCard,
    images: Sequence[np.ndarray],
    *,
    held_out: Sequence[np.ndarray] | None = None,
    folder: str | Path | None = None,
    source: str = "",
) -> ModelCard:
    """Return a card whose network can run in 8-bit integers: with runtime "openvino-int8".

    The calibrated network is written as `<weights>-int8.xml` and `.bin`; the card itself is to
    be written by `glaciercube.model.card.write_card`.

    Parameters
    ----------
    card : ModelCard
        Of a torch network.
    images : sequence of array (channel, y, x), float32
        Normalised, as the network sees them, of any size; 8 or more. They should show all that
        it is to be used on: ice and snow, cloud and shadow, land and water. See `tiles_of`.
    held_out : sequence of array (channel, y, x), float32, optional
        Images that agreement is counted on; every fourth of `images` by default, and the ranges
        come from the others.
    folder : path, optional
        Where to write; the weights are copied there too. The folder of the weights by default.
    source : str
        What the images show, for the card.

    Returns
    -------
    ModelCard
        Its `quantized` says the file, its hashes, and the share of pixels whose class is that in
        float32.

    Raises
    ------
    WeightsError
        If fewer than 99.9 % of the classes of held-out pixels are those in float32 (the message
        has the share); if the images are too few, of other channels or hold NaN; if the network
        comes as ONNX or lives in memory alone.
    ImportError
        If OpenVINO or NNCF is not installed.

    Notes
    -----
    Post-training quantisation by NNCF, with fast bias correction: weights by output channel,
    symmetric; activations by layer, from their smallest and largest value in any image, with or
    without outliers. Only convolutions are in integers. Where agreement is too
    low, more and more of the first and last ones stay in float32, as `ENDS` says. The same
    images give the same files.
    """
    _require_torch(card)
    given = _checked(card, images, "images")
    if held_out is None:
        ranging = [image for number, image in enumerate(given) if number % HELD_OUT]
        counted = given[::HELD_OUT]
    else:
        ranging, counted = given, _checked(card, held_out, "held_out")
    if len(given) < FEWEST:
        raise WeightsError(
            f"calibration needs {FEWEST} images or more, found {len(given)}; cut some from a cube "
            "with glaciercube.infer.calibration.tiles_of"
        )
    best = _first_that_agrees(card, ranging, counted)
    if best.agreement < AGREEMENT:
        raise WeightsError(
            f"the network of {card.name!r} in 8-bit integers must agree with float32 in "
            f"{AGREEMENT:.1%} of the pixels, found {best.agreement:.3%} of {best.pixels} at best; "
            "give more images of what it is used on, or use 'openvino-bfloat16'"
        )
    return _written(
        card, best, Path(card.weights).parent if folder is None else Path(folder), source
    )


def tiles_of(
    cube: xr.Dataset, card: ModelCard, *, count: int = 64, side: int = 256, seed: int = 0
) -> list[np.ndarray]:
    """Return normalised images cut from a cube at random dates and places, to calibrate with.

    Parameters
    ----------
    cube : Dataset
        That `predict` would take; only what is cut is read.
    card : ModelCard
    count : int
        Images.
    side : int
        Rows and columns (pixels) of each, made smaller where the cube is, and up to the network's
        stride; a network of a fixed window gets that.
    seed : int
        The same seed cuts the same images.

    Returns
    -------
    list of array (channel, y, x), float32
        At least half of each was measured.

    Raises
    ------
    SchemaError
        If the cube is not what the card needs, or so little was measured that too few are found.
    """
    checks.check_cube(cube, [card])
    sizes = [int(cube.sizes[name]) for name in ("time", "y", "x")]
    rows, columns = (card.window or _multiple(min(side, size), card.stride) for size in sizes[1:])
    generator = np.random.default_rng(seed)
    work, both = _reading(cube, card)
    found: list[np.ndarray] = []
    for _ in range(TRIES * count):
        spans = (sizes[0], sizes[1] - rows + 1, sizes[2] - columns + 1)
        date, y, x = (int(generator.integers(max(1, span))) for span in spans)
        window = Window(y, y + rows, x, x + columns)
        dates = (date, *work.others_of(date))
        reads = {each: Read.of(*both(each, window), window, each) for each in dates}
        read = replace(reads.pop(date), others=reads)
        if read.measured.mean() >= 0.5:
            found.append(read.image(window, work, card))
        if len(found) == count:
            return found
    raise SchemaError(
        f"calibration needs {count} images of {rows} x {columns} pixels of which half was "
        f"measured, found {len(found)} in {TRIES * count} tries; give a cube with more measured "
        "pixels, or ask for fewer"
    )


def _reading(cube: xr.Dataset, card: ModelCard) -> tuple[Work, Both]:
    """Return what tells which dates and bands a network sees, and what reads them."""
    arrays, names = dask_arrays(cube), [str(name) for name in cube["band"].values]
    positions = channels.positions(names, card)
    work = Work(
        refs=(),
        bands=tuple(names[at] for at in positions),
        planes=(),
        halo=0,
        stride=card.stride,
        chunks=(arrays[1].chunks[0], arrays[1].chunks[1], arrays[1].chunks[2]),
        times=tuple(str(time) for time in cube["time"].values),
        positions=tuple(positions),
        seen=seen_by(cube["time"].values, [card]),
        away=away_by(cube["time"].values, [card]),
    )
    return work, readers(cube, arrays, work.positions)[1]


def _multiple(size: int, stride: int) -> int:
    return max(stride, size // stride * stride)


def _require_torch(card: ModelCard) -> None:
    if reference_of(card) != "torch":
        raise WeightsError(
            f"calibration needs a torch network, {card.name!r} comes as ONNX; quantise it where it "
            "was made, and run it with runtime='onnx'"
        )
    if Path(card.weights).name == IN_MEMORY:
        raise WeightsError(
            f"calibration writes beside the weights, but the network of {card.name!r} lives in "
            "memory; save its weights with safetensors.torch.save_file and write a card"
        )


def _checked(card: ModelCard, images: Sequence[np.ndarray], name: str) -> list[np.ndarray]:
    """Return images as the network takes them."""
    found = [np.ascontiguousarray(image, np.float32) for image in images]
    for number, image in enumerate(found):
        if image.ndim != 3 or image.shape[0] != card.channels or not image.size:
            raise WeightsError(
                f"{name} need {card.channels} normalised bands (channel, y, x) as the card "
                f"{card.name!r} has, number {number} is of shape {image.shape}"
            )
        if not np.isfinite(image).all():
            raise WeightsError(
                f"{name} must be finite, number {number} holds NaN or infinity; the network sees "
                f"{card.fill} where nothing was measured"
            )
    return found


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A network in integers, and how well it agrees."""

    model: Any
    ends: tuple[int, int]
    outliers: float
    agreement: float
    pixels: int


def _first_that_agrees(card, ranging, counted) -> _Trial:
    """Return the first of the ways to quantise that agrees, or the best of all."""
    openvino = load("glaciercube.infer.runtime_openvino")
    ref = ref_for(card, "openvino")
    model, _ = openvino.checked(ref)
    reference = runtime_of(ref_for(card, reference_of(card)))
    wanted = [_classes(reference, image) for image in counted]
    tried = []
    for ends, outliers in itertools.product(_possible_ends(model), OUTLIERS):
        changed = _quantised(model, ranging, ends, outliers)
        runtime = openvino.OpenVinoRuntime(ref, openvino.compiled(changed, "int8"))
        same = [
            int((_classes(runtime, image) == classes).sum())
            for image, classes in zip(counted, wanted, strict=True)
        ]
        pixels = sum(classes.size for classes in wanted)
        tried.append(
            _Trial(
                model=changed,
                ends=ends,
                outliers=outliers,
                agreement=sum(same) / pixels,
                pixels=pixels,
            )
        )
        if tried[-1].agreement >= AGREEMENT:
            break
    return max(tried, key=lambda trial: trial.agreement)


def _possible_ends(model) -> Iterator[tuple[int, int]]:
    """Yield how many convolutions may stay in float32 so that some are left."""
    count = len(_convolutions(model))
    for ends in ENDS:
        if sum(ends) < count:
            yield ends


def _convolutions(model) -> list[str]:
    """Return the names of a network's convolutions in the order in which they run."""
    operations = model.get_ordered_ops()
    return [
        operation.get_friendly_name()
        for operation in operations
        if operation.get_type_name() in _CONVOLUTIONS
    ]


def _quantised(model, images, ends, outliers):
    """Return a network with convolutions in integers but for some of the first and last."""
    nncf = load("nncf")
    nncf.set_log_level(40)  # errors
    names = _convolutions(model)
    first, last = ends
    integers = set(names[first : len(names) - last])
    others = [
        operation.get_friendly_name()
        for operation in model.get_ordered_ops()
        if operation.get_friendly_name() not in integers
        and operation.get_type_name() not in ("Constant", "Parameter", "Result")
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # of progress bars
        return nncf.quantize(
            model.clone(),
            nncf.Dataset([image[np.newaxis] for image in images]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            fast_bias_correction=True,
            ignored_scope=nncf.IgnoredScope(names=others, validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=_ranges(outliers)
            ),
        )


def _ranges(outliers):
    """Return how the range of a layer follows from the images."""
    found = load("nncf.quantization.range_estimator")
    kinds = found.StatisticsType
    names = (kinds.QUANTILE, kinds.QUANTILE) if outliers else (kinds.MIN, kinds.MAX)
    # A mean over images would cut off what only some of them show.
    extremes = (found.AggregatorType.MIN, found.AggregatorType.MAX)
    low, high = (
        found.StatisticsCollectorParameters(
            statistics_type=kind, aggregator_type=extreme, quantile_outlier_prob=outliers
        )
        for kind, extreme in zip(names, extremes, strict=True)
    )
    return found.RangeEstimatorParameters(min=low, max=high)


def _classes(runtime, image) -> np.ndarray:
    whole = (slice(0, image.shape[1]), slice(0, image.shape[2]))
    return runtime.scores(image[np.newaxis], whole)[0].argmax(axis=0)


def _named_by_order(model) -> None:
    """Give operations names that do not count what this process made before."""
    model.set_friendly_name("network")
    model.set_rt_info("", ["nncf"])
    for number, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{number}")


def _written(card, best: _Trial, folder: Path, source: str) -> ModelCard:
    """Write a network beside its weights and return the card that names it."""
    openvino = load("glaciercube.infer.runtime_openvino")
    folder = folder.absolute()
    weights = folder / Path(card.weights).name
    if not weights.exists() or not weights.samefile(card.weights):
        check_weights_file(card.weights, card.sha256)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(card.weights, weights)
    name = f"{weights.stem}-int8.xml"
    _named_by_order(best.model)
    best.model.set_rt_info(card.sha256, openvino.MARK)
    with TemporaryDirectory(dir=folder) as draft:
        openvino.openvino.save_model(best.model, Path(draft) / name, compress_to_fp16=False)
        found = [Path(draft) / name, (Path(draft) / name).with_suffix(".bin")]
        hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in found]
        for file in reversed(found):
            os.replace(file, folder / file.name)
    quantized = {
        "file": name,
        "sha256": hashes[0],
        "sha256_bin": hashes[1],
        "agreement": math.floor(best.agreement * 1e6) / 1e6,
        "pixels": best.pixels,
        "float32_convolutions": list(best.ends),
        "outliers": best.outliers,
    }
    more = {"images": source} if source else {}
    return replace(card, weights=str(weights), quantized=quantized | more)
