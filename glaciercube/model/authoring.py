"""Cards of networks that users bring: inspected once, then held in memory or written to files."""

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.model import dates, networks, registry
from glaciercube.model.card import ModelCard, write_card
from glaciercube.model.identity import sha256_of_network
from glaciercube.model.inspection_probe import copied
from glaciercube.model.inspector import Inspection, inspect
from glaciercube.model.padding import padded
from glaciercube.model.reference import IN_MEMORY
from glaciercube.model.trial import images, require_runs
from glaciercube.model.weights import sha256_of

_DERIVED = ("architecture", "arguments", "weights", "sha256", "quantized")
"""Fields of a card that are not given but follow from the network."""

_DEFAULTS: dict[str, Any] = {"version": "1", "licence": "NOASSERTION"}

_LARGEST_DIFFERENCE = 1e-4
"""Of the largest score: what rounding may change between two copies of a network."""


def hold(network: nn.Module, **fields: Any) -> ModelCard:
    """Return the card of a network that stays in the memory of this process.

    Parameters
    ----------
    network : Module
        (n, channels, y, x) to scores (n, categories, y, x), in evaluation mode. A copy is kept:
        what is done to the network afterwards changes no result.
    **fields
        Of `ModelCard`, the same for `write_network`. Needed are `name`, `task`, `bands`, `mean`,
        `std`, `categories`, `radiometry` and `resolution_m`. Halo, stride and exactness are
        found by `inspect` and need not be given; `inspection`, from an earlier card of the same
        network, saves that. A network that is not exact takes `window`.

    Returns
    -------
    ModelCard
        For `predict`. Other processes do not have the network, so that threads can compute with
        it, but neither Dask's processes nor a cluster.

    Raises
    ------
    WeightsError
        If the network is in training mode, holds NaN, takes other channels, or gives other
        categories or another size; or if fields are missing, unknown, or promise more than was
        found, such as a smaller halo.

    Examples
    --------
    >>> network = nn.Conv2d(2, 3, 3, padding=1).eval()
    >>> card = hold(
    ...     network,
    ...     name="mine",
    ...     task="facies",
    ...     bands=("green", "swir16"),
    ...     mean=(0.4, 0.1),
    ...     std=(0.3, 0.1),
    ...     categories=("ice", "snow", "land"),
    ...     radiometry=("surface",),
    ...     resolution_m=(10, 30),
    ... )
    >>> card.halo, card.stride, card.exact
    (1, 1, True)
    """
    registry.require_ready(network)
    place = {"architecture": "held", "arguments": {}, "weights": IN_MEMORY}
    card = _card(network, fields, **place, sha256=sha256_of_network(network))
    return registry.hold(network, card)


def write_network(
    network: nn.Module,
    path: str | Path,
    *,
    factory: str,
    arguments: Mapping[str, Any],
    **fields: Any,
) -> ModelCard:
    """Write the weights of a network and its card, and return the card.

    Parameters
    ----------
    network : Module
        (n, channels, y, x) to scores (n, categories, y, x), in evaluation mode.
    path : str or Path
        Of the card (.json); the weights are written beside it (.safetensors). Files that are
        there are replaced.
    factory : str
        What builds the network: "package.module:build", the name of a class of torch.nn.Module
        or of a function whose return is annotated as one, in a package that is installed
        wherever the network is to run. Or a name in `networks.NETWORKS`.
    arguments : mapping
        The keyword arguments that the factory is called with, plain JSON values. Nothing is
        added to them: the numbers of channels and categories stand there too.
    **fields
        As of `hold`; `licence` of the weights as well, an SPDX identifier.

    Returns
    -------
    ModelCard
        For `predict`, in any process that can import the package.

    Raises
    ------
    WeightsError
        As `hold`; and if what the factory builds is another network: other tensors, or other
        scores with the same ones. Nothing is written then.

    Examples
    --------
    >>> import tempfile
    >>> network = nn.Conv2d(2, 3, 3, padding=1).eval()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     card = write_network(
    ...         network,
    ...         f"{folder}/mine.json",
    ...         factory="torch.nn:Conv2d",
    ...         arguments={"in_channels": 2, "out_channels": 3, "kernel_size": 3, "padding": 1},
    ...         name="mine",
    ...         task="facies",
    ...         bands=("green", "swir16"),
    ...         mean=(0.4, 0.1),
    ...         std=(0.3, 0.1),
    ...         categories=("ice", "snow", "land"),
    ...         radiometry=("surface",),
    ...         resolution_m=(10, 30),
    ...         licence="CC-BY-4.0",
    ...     )
    >>> card.architecture, card.halo
    ('torch.nn:Conv2d', 1)
    """
    registry.require_ready(network)
    target = Path(path).absolute()
    weights = target.with_suffix(".safetensors")
    made = {"architecture": factory, "arguments": dict(arguments), "weights": str(weights)}
    card = _card(network, fields, **made, sha256="0" * 64)
    _require_same(network, card)
    target.parent.mkdir(parents=True, exist_ok=True)
    card = dataclasses.replace(card, sha256=save_weights(network, weights))
    write_card(card, target)
    return card


def inspect_again(card: ModelCard) -> ModelCard:
    """Return a card with a new inspection of its network.

    Parameters
    ----------
    card : ModelCard
        Its weights are loaded. `write_card` puts the result into its file.

    Raises
    ------
    WeightsError
        If it promises more than is found.
    """
    network = registry.network_of(dataclasses.replace(card, inspection={}))
    found = inspect(network, card.channels, card.window)
    return dataclasses.replace(card, inspection=found.record())


def save_weights(network: nn.Module, path: str | Path) -> str:
    """Write the tensors of a network to a safetensors file, and return its sha256.

    Parameters
    ----------
    network : Module
    path : str or Path
        Replaced when all is written.
    """
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    # a copy each: safetensors refuses tensors that share memory
    copies = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in network.state_dict().items()
    }
    save_file(copies, draft)
    draft.chmod(0o644)
    draft.replace(target)
    return sha256_of(target)


def _card(network: nn.Module, fields: Mapping[str, Any], **derived: Any) -> ModelCard:
    """Return the card of a network, with halo, stride and exactness where they are not given."""
    _require_fields(fields, derived)
    record = fields.get("inspection") or {}
    channels, window = _channels(fields), fields.get("window", 0)
    found = Inspection.of_record(record) if record else inspect(network, channels, window)
    exact = fields.get("exact", found.exact)
    step = math.lcm(found.stride, found.multiple) if exact else 1
    measured = {
        "exact": exact,
        "stride": step,
        "halo": -(-(found.halo or 0) // step) * step,
        "inspection": found.record(),
    }
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    card = ModelCard(**_DEFAULTS | measured | dict(fields) | lists | derived)
    require_runs(padded(_plain(network), card.multiple), card)
    return card


def _channels(fields):
    """Return the number of channels of the network's input."""
    given = fields.get("dates", {})
    seen = dates.declared(given) if isinstance(given, Mapping) else {}
    if lines := [*dates.problems(seen)] if seen else []:
        raise WeightsError("the card of a network is not usable:\n  " + "\n  ".join(lines))
    return dates.channels(seen, len(fields["bands"]))


def _require_fields(fields, derived):
    possible = [each for each in dataclasses.fields(ModelCard) if each.name not in _DERIVED]
    known = {"halo", *_DEFAULTS} if derived["weights"] == IN_MEMORY else {"halo", "version"}
    needed = [
        each.name
        for each in possible
        if each.default is dataclasses.MISSING
        and each.default_factory is dataclasses.MISSING
        and each.name not in known
    ]
    missing = [name for name in needed if name not in fields]
    unknown = [name for name in fields if name not in {each.name for each in possible}]
    lines = [f"{missing} are missing"] if missing else []
    lines += [f"{unknown} are none of them, or follow from the network"] if unknown else []
    if lines:
        raise WeightsError(
            f"the card of a network needs the fields {needed}, and takes the others of ModelCard; "
            + "; ".join(lines)
        )


def _require_same(network: nn.Module, card: ModelCard) -> None:
    """Raise an error if what a card builds is not the network."""
    built, tensors = networks.build(card).eval(), network.state_dict()
    registry.require_fit(card, built, {name: tuple(one.shape) for name, one in tensors.items()})
    built.load_state_dict(tensors)
    image = images(card)[0]
    with torch.inference_mode():
        expected, found = _plain(network)(image), built(image)
    largest = float(expected.abs().max())
    differ = math.inf
    if found.shape == expected.shape:
        differ = float((found - expected).abs().max())
    if not differ <= _LARGEST_DIFFERENCE * (1 + largest):
        raise WeightsError(
            f"{card.architecture!r} with {dict(card.arguments)} and the tensors of the network "
            f"must give its scores, but they differ by {differ:.2g} where they reach "
            f"{largest:.2g}; give the arguments that it was built with"
        )


def _plain(network: nn.Module) -> nn.Module:
    """Return a copy of a network that runs on the CPU and in float32."""
    return copied(network).to("cpu", torch.float32)
