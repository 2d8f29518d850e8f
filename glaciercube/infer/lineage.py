"""Of what each block of a prediction is made: networks, halo, and the blocks that are read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from glaciercube import schema
from glaciercube.infer.choices import Choice
from glaciercube.infer.work import PROBABILITY, Work
from glaciercube.store.inputs import StoreInputs
from glaciercube.store.lineage import Inputs, Lineage, fingerprint, lineage_of, with_lineage
from glaciercube.store.making import Making, Planes, Stored, with_making
from glaciercube.store.reading import source_of
from glaciercube.windows import Window, expand

_UNKNOWN = (Choice("torch"),)
"""Stands where it is chosen later: such layers are made again before they are written."""


class AroundInputs:
    """What is known of the blocks of arrays that a block and its halo touch.

    Parameters
    ----------
    inputs : sequence of Inputs
        Of each array; all on one grid.
    work : Work
        Whose halo is read.
    """

    def __init__(self, inputs: Sequence[Inputs], work: Work) -> None:
        self.inputs = list({id(one): one for one in inputs}.values())
        self.work = work

    def refresh(self) -> None:
        """Forget what sources were like: a write looks at them anew."""
        for one in self.inputs:
            refresh = getattr(one, "refresh", None)
            if refresh is not None:
                refresh()

    def of(self, time: np.datetime64 | None, window: Window) -> str:
        """Return the fingerprint of all that a block and its halo are made of.

        Parameters
        ----------
        time : datetime64[ns] or None
        window : Window
        """
        wide = expand(window, self.work.reach, self.work.shape)
        return fingerprint(*(one.of(time, wide) for one in self.inputs))


class SeenInputs:
    """What is known of a block on all dates that networks see with its own.

    Parameters
    ----------
    inputs : Inputs
        Of the block on one date.
    times : array (time,), datetime64[ns]
        Dates of the cube.
    work : Work
        That says which of them are seen together.
    """

    def __init__(self, inputs: Inputs, times: np.ndarray, work: Work) -> None:
        self.inputs, self._work, self._times = inputs, work, times
        self._places = {time: date for date, time in enumerate(times)}
        self._known: dict[tuple[int, Window], str] = {}

    def refresh(self) -> None:
        """Forget what sources were like: a write looks at them anew."""
        self._known.clear()
        refresh = getattr(self.inputs, "refresh", None)
        if refresh is not None:
            refresh()

    def of(self, time: np.datetime64 | None, window: Window) -> str:
        """Return the fingerprint of what a block is made of on all dates, and of which these are.

        Parameters
        ----------
        time : datetime64[ns] or None
        window : Window
        """
        if time not in self._places:
            return self.inputs.of(time, window)
        own = self._places[time]
        seen = [
            f"{name} {[str(self._times[date]) if date >= 0 else '' for date in each[own]]}"
            for name, each in sorted(self._work.seen.items())
        ]
        every = (own, *self._work.others_of(own))
        return fingerprint(*seen, *(self._of(date, window) for date in every))

    def _of(self, date, window):
        key = (date, window)
        if key not in self._known:
            self._known[key] = self.inputs.of(self._times[date], window)
        return self._known[key]


def parameters_of(work: Work, algorithm: int) -> dict[str, Any]:
    """Return what all blocks of a prediction have in common, as JSON.

    Parameters
    ----------
    work : Work
    algorithm : int
        Version of the prediction.

    Returns
    -------
    dict
        Of each network the hash of its weights, of what else of its card the numbers depend on,
        and how it runs. Where it lies and what it is called does not matter.
    """
    return {
        "made_by": "predict",
        "algorithm": algorithm,
        "networks": [
            {
                "task": ref.card.task,
                "weights": ref.card.sha256,
                "card": fingerprint(repr(ref.__dask_tokenize__())),
                **choice.record(),
                **({"dates": dict(ref.card.dates)} if ref.card.dates else {}),
            }
            for ref, choice in zip(
                work.refs, work.choices or _UNKNOWN * len(work.refs), strict=True
            )
        ],
        "halo": work.halo,
        "stride": work.stride,
        "views": work.views,
        "outputs": list(work.planes),
    }


def inputs_of(cube: xr.Dataset, work: Work) -> tuple[Inputs, dict[str, Any]] | None:
    """Return what the blocks of a prediction read, and the parameters of that.

    Parameters
    ----------
    cube : Dataset
    work : Work

    Returns
    -------
    (Inputs, dict) or None
        Of a cube that `read` gave, the records of the store's blocks, whichever the strategy; of
        another the lineage of its `reflectance` and `valid`; None where that is not known.
    """
    found = _of_one_date(cube, work)
    if found is None or not work.seen:
        return found
    inputs, parameters = found
    return SeenInputs(inputs, cube["time"].values.astype("datetime64[ns]"), work), parameters


def _of_one_date(cube, work):
    sources = [source for name in schema.CUBE if (source := source_of(cube[name])) is not None]
    if len(sources) == len(schema.CUBE):
        return StoreInputs(sources, work.reach), {}
    lineages = {name: lineage_of(cube[name]) for name in schema.CUBE}
    known = {name: one for name, one in lineages.items() if one is not None}
    if len(known) < len(lineages):
        return None
    parameters = {name: one.parameters for name, one in known.items()}
    return AroundInputs([one.inputs for one in known.values()], work), {"cube": parameters}


def traced(
    layers: xr.Dataset,
    names: Iterable[str],
    cube: xr.Dataset,
    work: Work,
    algorithm: int,
    mark: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Return layers that carry of what they are made, if it is known of the cube.

    Parameters
    ----------
    layers : Dataset
    names : iterable of str
        Of the layers that the networks gave.
    cube : Dataset
        What was read.
    work : Work
    algorithm : int
        Version of the prediction.
    mark : mapping, optional
        What names the region of interest, as JSON.
    """
    inside: dict[str, Any] = {} if mark is None else {"within": dict(mark)}
    if work.region is not None:
        valid = lineage_of(cube["valid"])
        if valid is not None:
            made = _made(layers["valid"], {**valid.parameters, **inside}, valid.inputs)
            layers = layers.assign(valid=made)
    found = inputs_of(cube, work)
    if found is None:
        return layers
    inputs, more = found
    parameters = parameters_of(work, algorithm) | more | inside
    return layers.assign({name: _made(layers[name], parameters, inputs) for name in names})


def _made(array: xr.DataArray, parameters: Mapping[str, Any], inputs: Inputs) -> xr.DataArray:
    made = Lineage(name=array.data.name, parameters=parameters, inputs=inputs)
    return with_lineage(array, made)


def with_makings(
    layers: xr.Dataset,
    names: Iterable[str],
    work: Work,
    codes: da.Array,
    choose: Callable[[Stored | None], xr.Dataset] | None,
) -> xr.Dataset:
    """Return layers that carry how a store computes them best.

    Parameters
    ----------
    layers : Dataset
    names : iterable of str
        Of the layers that the networks gave.
    work : Work
    codes : Dask array (time, plane, y, x), uint8
        All planes as a store keeps them.
    choose : callable, optional
        Makes the layers once the runtime is settled.
    """
    touches = None if work.region is None else work.region.touches
    made = {
        name: Making(
            name=layers[name].data.name,
            planes=Planes(codes, _numbers(name, work)),
            touches=touches,
            choose=choose,
        )
        for name in names
    }
    if touches is not None:
        made["valid"] = Making(name=layers["valid"].data.name, touches=touches)
    return layers.assign({name: with_making(layers[name], one) for name, one in made.items()})


def _numbers(name, work):
    """Return which planes a layer has."""
    if name != "probability":
        return (work.planes.index(name),)
    return tuple(n for n, plane in enumerate(work.planes) if plane.startswith(PROBABILITY))
