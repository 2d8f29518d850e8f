"""Networks that glacier mapping teams published: their weights read into ours, with a card.

The weights are their authors' (GPL-2): they neither come with this package nor are downloaded.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from glaciercube.errors import WeightsError
from glaciercube.model import keras_layers, keras_weights, networks
from glaciercube.model.authoring import save_weights
from glaciercube.model.card import ModelCard, write_card
from glaciercube.model.minmax import Scaling, limits
from glaciercube.model.patch_agreement import agreement
from glaciercube.model.published_rows import ROWS, Published
from glaciercube.model.weights import sha256_of

_UNMEASURED = (
    "By convolutions its labels are not those of its patches; by how much was not measured, as no "
    "image was given when it was imported."
)

_DERIVED = ("architecture", "arguments", "weights", "sha256", "mean", "std", "quantized")
"""Fields of a card that follow from the weights and the scaling."""


def import_keras(
    path: str | Path,
    folder: str | Path,
    *,
    network: Literal["facies", "glavitu", "icemapper"],
    scaling: Scaling | None = None,
    arguments: Mapping[str, Any] | None = None,
    image: np.ndarray | None = None,
    **fields: Any,
) -> ModelCard:
    """Read the authors' Keras weights, and write them as safetensors with a card.

    Parameters
    ----------
    path : str or Path
        Of the authors' `.h5` file. Read with h5py; TensorFlow is not needed, and no code runs.
    folder : str or Path
        Where `<name>.json` and `<name>.safetensors` are written.
    network : {"facies", "glavitu", "icemapper"}
        Which of `published_rows.ROWS` it is.
    scaling : str, Path, sequence or mapping
        The authors' smallest and largest value of each band, or a file of them; see
        `minmax.limits`. Needed: it does not come with the weights.
    arguments : mapping, optional
        Of the architecture, where the weights leave a choice: "mode" of the facies network,
        "location" of a GlaViTU that was trained with one.
    image : array (band, y, x), float, optional
        Of the bands of the facies network, unscaled, NaN where not measured. How its two modes
        agree there is measured and put into the card's `metrics`.
    **fields
        Of `ModelCard`, in place of what the row says: `name`, `bands`, `radiometry`,
        `resolution_m`, `dates`, ...

    Returns
    -------
    ModelCard
        For `predict`, in any process.

    Raises
    ------
    WeightsError
        If the file is no Keras file, or of another network; if scaling or an argument is
        missing or something else; if fields are unknown. Nothing is written then.
    ImportError
        If h5py is not installed; the message has the install line.
    """
    row = _row_of(network)
    _require_fields(fields)
    arrays = keras_weights.read(path)
    _require_mark(path, network, arrays)
    given = {**row.arguments_of(arrays), **(arguments or {})}
    _require_location(path, arrays, given)
    bands = tuple(fields.pop("bands", None) or row.bands_of(arrays))
    low, high = limits(scaling, row.features, bands)
    span = tuple(float(b - a) for a, b in zip(low, high, strict=True))
    card = _card(Path(path), Path(folder), row, given, bands=bands, mean=low, std=span, **fields)
    built = networks.build(card)
    what = f"the weights {str(path)!r} and the network {network!r} with {given}"
    built.load_state_dict(keras_layers.tensors_of(built, row.layers_of(given), arrays, what))
    if image is not None:
        found = {"convolutional_and_patches": agreement(built.eval(), card, np.asarray(image))}
        card = dataclasses.replace(card, metrics={**card.metrics, **found})
    elif given.get("mode") == "convolutional":
        card = dataclasses.replace(card, limits=(*card.limits, _UNMEASURED))
    place = Path(card.weights)
    place.parent.mkdir(parents=True, exist_ok=True)
    card = dataclasses.replace(card, sha256=save_weights(built, place))
    write_card(card, place.with_suffix(".json"))
    return card


def _row_of(network):
    if network not in ROWS:
        raise WeightsError(f"needs one of the networks {list(ROWS)}, found {network!r}")
    return ROWS[network]


def _require_fields(fields):
    names = {each.name for each in dataclasses.fields(ModelCard)}
    wrong = [name for name in fields if name not in names or name in _DERIVED]
    if wrong:
        raise WeightsError(
            f"takes the fields {sorted(names - set(_DERIVED))} of a card, found {wrong}: there is "
            "no such field, or it follows from the weights and the scaling"
        )


def _require_mark(path, network, arrays):
    """Raise an error if a file lacks what tells a network from others."""
    missing = [name for name in ROWS[network].marks if arrays.get(name, np.empty(0)).ndim < 2]
    if not missing:
        return
    others = [
        name for name, row in ROWS.items() if all(arrays.get(one) is not None for one in row.marks)
    ]
    looks = f"it has those of {others[0]!r}" if others else "it is of none of our networks"
    layers = sorted({name.split("/")[0] for name in arrays})
    raise WeightsError(
        f"{str(path)!r} must be weights of {network!r}, but lacks its layers {missing}; {looks}: "
        f"{layers[:8]}"
    )


def _require_location(path, arrays, given):
    kernel = arrays.get("location_encoding_block.0/dense.0/kernel")
    if kernel is None:
        return
    size, found = len(np.atleast_1d(kernel)), given.get("location")
    if found is None or len(found) != size:
        raise WeightsError(
            f"{str(path)!r} was trained with the location: needs arguments={{'location': [...]}} "
            f"of {size} numbers (1 for the region and 0 for the others, the last for an unknown "
            f"one; or sine and cosine of latitude and longitude), found {found!r}"
        )


def _card(path: Path, folder: Path, row: Published, given: dict[str, Any], **fields: Any):
    """Return the card of weights that are not written yet."""
    inspection = row.inspection_of(given)
    name = fields.pop("name", None) or "-".join([row.name, path.stem, *row.words_of(given)])
    known: dict[str, Any] = {
        **row.fields,
        "window": row.window_of(given),
        "version": "1",
        "training": {"source": row.source, "file": path.name, "sha256": sha256_of(path)},
        "inspection": inspection.record(),
        "exact": inspection.exact,
        "stride": inspection.stride,
        "halo": inspection.halo or 0,
    }
    place = (folder / f"{name}.safetensors").absolute()
    derived = {"architecture": row.architecture, "arguments": given, "weights": str(place)}
    lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
    return ModelCard(**known | fields | lists | derived, name=name, sha256="0" * 64)
