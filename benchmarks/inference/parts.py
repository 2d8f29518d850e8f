"""The parts of the benchmark: each runs its ways in turn and yields rows with their bars."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import numpy as np

from inference.processes import measured
from inference.rows import Row, in_turn, seconds, size
from inference.setup import NETWORKS, Setup

TITLES = {"unet": "U-Net", "fcn": "FCN"}

DEFAULT_ALLOCATOR = {"GLACIERCUBE_KEEP_BUFFERS": "0"}

ONE = {"OMP_NUM_THREADS": "1"}

AGREEMENT = 0.999

SEAM_FREE = 0.9999
"""Share of the classes of one pass over the image from which on a way in float32 has no seams."""

GIB = 2**30


def prepare(setup: Setup) -> None:
    """Make the cube and the networks, as far as they are not there."""
    measured("scenes", "cube", setup, size=setup.size, dates=setup.dates)
    measured("scenes", "train", setup)
    for network in NETWORKS:
        found = measured("scenes", "calibrate", setup, network=network)
        told = found.get("skipped") or f"agreement {found['agreement']:.5f} on tiles held out"
        print(f"{TITLES[network]} calibrated for 8-bit integers: {told}", flush=True)


@cache
def chosen(setup: Setup, network: str) -> Mapping[str, Any]:
    """Return which runtime `predict` chooses by default for the cube, and what that took."""
    return measured("ways", "choose", setup, network=network)


def speed(setup: Setup) -> Iterator[Row]:
    """Compare Zarr to Zarr with the forward pass of the same useful pixels."""
    for network in setup.networks:
        found, title = chosen(setup, network), TITLES[network]
        yield Row(
            part="speed",
            figure=f"{title}: choosing the runtime, once for a store",
            found=f"{found['runtime']}, {seconds(found)}",
        )
        halos: list[int | None] = [None]
        if network == "unet":
            told = measured("ways", "reach", setup, network=network, runtime=found["runtime"])
            halos.append(int(told["halo"]))
            yield Row(
                part="speed",
                figure=f"{title}: measuring the effective halo, {halos[1]}, once for a store",
                found=f"{told['halo_disagreement']:.1e} differ, {seconds(told)}",
            )
        for runtime in dict.fromkeys((found["runtime"], "torch-bfloat16")):
            for halo in halos:
                yield from _against_floor(setup, network, runtime, halo)


def _against_floor(setup, network, runtime, halo):
    dates = setup.dates if runtime == chosen(setup, network)["runtime"] else setup.peer_dates
    given = {"network": network, "runtime": runtime, "dates": dates}
    ways = {
        "floor": partial(measured, "ways", "floor", setup, **given),
        "ours": partial(measured, "ways", "ours", setup, halo=halo, **given),
    }
    best = in_turn(ways, setup.repeats)
    floor, ours = best["floor"], best["ours"]
    kind = "exact" if halo is None else "effective"
    figure = f"{TITLES[network]}, {runtime}, {kind} halo"
    skipped = floor.get("skipped") or ours.get("skipped")
    if skipped:
        yield Row(part="speed", figure=figure, found=f"skipped: {skipped}")
        return
    pixels = ours["forwarded"] / ours["useful"]
    ratio, bar = ours["seconds"] / floor["seconds"], 1.1 * pixels
    processor = ours["cpu"] / floor["cpu"]
    yield Row(
        part="speed",
        figure=f"{figure} {ours['attrs'].get('halo', '')}, reads {pixels:.3f}: CPU {processor:.2f}",
        found=f"{seconds(ours)}, {size(ours['peak'])}",
        against=f"bare forward {seconds(floor)}",
        ratio=ratio,
        bar=f"<= {pixels:.3f} x 1.10" if halo is None else "<= 1.25",
        met=ratio <= (bar if halo is None else 1.25),
    )


RUNTIMES = ("torch", "torch-bfloat16", "openvino", "openvino-bfloat16", "openvino-int8")
BARS = {"bfloat16": (3.3, 2.2), "int8": (6.0, 4.3)}


def runtimes(setup: Setup) -> Iterator[Row]:
    """Compare runtimes with the eager network, on tiles, in one thread."""
    for network in setup.networks:
        given = {"network": network, "side": setup.tile, "repeats": 1}
        run = partial(measured, "ways", "speed", setup, **given)
        eager = partial(run, runtime="torch-eager")
        ways: dict[str, Callable[[], Mapping[str, Any]]] = {
            "default": partial(eager, environ=ONE | DEFAULT_ALLOCATOR, name="default"),
            "eager": partial(eager, environ=ONE),
        }
        ways |= {name: partial(run, runtime=name, environ=ONE) for name in RUNTIMES}
        best = in_turn(ways, setup.repeats)
        fastest = _fastest(best)
        for name in best:
            yield _runtime_row(setup, network, name, best, fastest.get(name))


def _fastest(best):
    """Return the precision whose fastest runtime each is."""
    done = {name: found for name, found in best.items() if "seconds" in found}
    ends = {end: [name for name in done if name.endswith(end)] for end in BARS}
    return {
        min(names, key=lambda name: done[name]["seconds"]): end
        for end, names in ends.items()
        if names
    }


def _runtime_row(setup, network, name, best, precision):
    found, figure = best[name], f"{TITLES[network]}, tiles of {setup.tile}, one thread: {name}"
    if "skipped" in found:
        return Row(part="runtimes", figure=figure, found=f"skipped: {found['skipped']}")
    ratio = best["default"]["seconds"] / found["seconds"]
    equal = best["eager"]["seconds"] / found["seconds"]
    agreement = agreed(setup, found["result"], best["eager"]["result"])
    bars = BARS.get(precision)
    return Row(
        part="runtimes",
        figure=figure,
        found=f"{found['pixels'] / found['seconds'] / 1e6:.3f} Mpx/s, agreement {agreement:.5f}",
        against=f"eager: default allocator (equal: {equal:.2f})",
        ratio=ratio,
        bar="" if bars is None else f">= {bars[0]} ({bars[1]}), 99.9 %",
        met=None
        if bars is None
        else ratio >= bars[0] and equal >= bars[1] and agreement >= AGREEMENT,
    )


def agreed(setup: Setup, one: str, other: str) -> float:
    """Return the share of equal classes, of pixels that both have a class of."""
    codes = [np.load(setup.result(name)) for name in (one, other)]
    known = (codes[0] != 255) & (codes[1] != 255)
    return float((codes[0] == codes[1])[known].mean())


PEERS = ("map_overlap", "apply_ufunc", "xbatcher", "monai")


def peers(setup: Setup) -> Iterator[Row]:
    """Compare Zarr to Zarr at default settings with what others write, by time for a pixel.

    Ours is given all dates, choosing the runtime among its time; the peers, which take far longer
    and whose time for a pixel does not depend on their number, the first ones.
    """
    for network in setup.networks:
        measured("ways", "truth", setup, network=network)
        given = {"network": network, "dates": setup.dates}
        ways = {name: _peer(setup, name, network) for name in PEERS}
        known = partial(measured, "ways", "ours", setup, **given)
        ways = {"ours": known, **ways}
        ways["again"] = partial(known, runtime=chosen(setup, network)["runtime"])
        best = in_turn(ways, 1)
        yield from _peer_rows(setup, network, best)


def _peer(setup, name, network):
    return partial(measured, "peers", "peer", setup, name=name, network=network)


def _peer_rows(setup, network, best):
    truth, title = f"truth-{network}", TITLES[network]
    each = {name: found["seconds"] / found["useful"] for name, found in best.items()
            if "skipped" not in found}  # fmt: skip
    agree = {name: agreed(setup, best[name]["result"], truth) for name in each}
    others = {name: each[name] for name in PEERS if name in each}
    free = {name: value for name, value in others.items() if agree[name] >= SEAM_FREE}
    for name, found in best.items():
        if name not in each:
            yield Row(part="peers", figure=f"{title}: {name}", found=f"skipped: {found['skipped']}")
            continue
        label = {"ours": "predict and write, default settings",
                 "again": "the same, once the runtime is chosen"}.get(name, name)  # fmt: skip
        yield Row(
            part="peers",
            figure=f"{title}: {label}",
            found=f"{1e6 * each[name]:.3f} s/Mpx, {size(found['peak'])}",
            against=f"classes of the whole image {agree[name]:.6f}",
        )
    for kind, some, bar in (("the best seam-free", free, 3.0), ("the best of any", others, 2.0)):
        if some:
            best_one = min(some, key=some.__getitem__)
            ratio = some[best_one] / each["ours"]
            yield Row(
                part="peers",
                figure=f"{title}: {kind} peer against ours at default settings",
                found=f"ours {1e6 * each['ours']:.3f} s/Mpx",
                against=f"{best_one} {1e6 * some[best_one]:.3f} s/Mpx",
                ratio=ratio,
                bar=f">= {bar:g}",
                met=ratio >= bar,
            )


def memory(setup: Setup) -> Iterator[Row]:
    """Compare the peak of memory with its formula, for short and long cubes."""
    network, side = "unet", setup.long_size
    runtime = chosen(setup, network)["runtime"]
    for dates in setup.lengths:
        measured("scenes", "cube", setup, size=side, dates=dates)
        given = {"network": network, "runtime": runtime, "cube": (side, dates), "warm": False}
        found = measured("ways", "ours", setup, **given)
        rows, columns = found["largest"]
        tile = measured("ways", "activations", setup, network=network, runtime=runtime,
                        rows=rows, columns=columns)  # fmt: skip
        bands = len(setup.card(network).bands)
        terms = {
            "imports": tile["baseline"],
            f"{tile['threads']} x 3 x (block + halo)": tile["threads"] * 3 * rows * columns
            * bands * 4,
            f"{tile['slots']} x activations": tile["slots"] * (tile["peak"] - tile["before"]),
            "model": tile["model"],
        }  # fmt: skip
        bound = sum(terms.values())
        yield Row(
            part="memory",
            figure=f"U-Net, {runtime}, {dates} dates of {side}: peak",
            found=size(found["peak"]),
            against=" + ".join(f"{name} {size(value)}" for name, value in terms.items()),
            ratio=found["peak"] / bound,
            bar=f"<= {size(bound)}",
            met=found["peak"] <= bound,
        )


def graph(setup: Setup) -> Iterator[Row]:
    """Count the tasks of writing and their bytes, and time a graph of a million blocks."""
    for network in NETWORKS:
        found = measured("graphs", "graph", setup, network=network, dates=3)
        yield _tasks_row(network, found)
    found = measured("graphs", "graph", setup, network="unet", dates=setup.graph_dates)
    yield _tasks_row("unet", found)
    steps = ", ".join(f"{name} {found[name]:.1f} s" for name in ("plan", "fingerprints", "graph"))
    yield Row(
        part="graph",
        figure=f"{found['blocks']} blocks, graph materialised",
        found=f"{found['seconds']:.1f} s, {size(found['peak'])}",
        against=steps,
        bar="< 90 s, < 8 GiB" if setup.graph_dates > 900 else "",
        met=(found["seconds"] < 90 and found["peak"] < 8 * GIB)
        if setup.graph_dates > 900
        else None,
    )


def _tasks_row(network, found):
    each = found["tasks"] / found["blocks"]
    return Row(
        part="graph",
        figure=f"{TITLES[network]}, {found['blocks']} blocks: tasks for each when written",
        found=f"{each:g} and {found['others']} shared by all",
        against=f"largest {size(found['largest'])}, shared {size(found['shared'])}",
        ratio=each,
        bar="1, <= 4 KiB",
        met=each == 1 and found["largest"] <= 4096,
    )


def region(setup: Setup) -> Iterator[Row]:
    """Compare a region of interest with the whole, in time and bytes."""
    network = "unet"
    runtime = chosen(setup, network)["runtime"]
    given = {"network": network, "runtime": runtime}
    ways = {
        "whole": partial(measured, "ways", "ours", setup, **given),
        "region": partial(measured, "ways", "ours", setup, share=setup.share, **given),
    }
    best = in_turn(ways, setup.repeats)
    whole, part = best["whole"], best["region"]
    yield Row(
        part="region",
        figure=f"{setup.share:.0%} of the pixels in {part['blocks']} of {whole['blocks']} blocks: "
        "time",
        found=seconds(part),
        against=f"the whole {seconds(whole)}",
        ratio=part["seconds"] / whole["seconds"],
        bar="<= 0.08",
        met=part["seconds"] / whole["seconds"] <= 0.08,
    )
    moved = [found["read"] + found["written"] for found in (part, whole)]
    yield Row(
        part="region",
        figure="the same: bytes read and written",
        found=size(moved[0]),
        against=f"the whole {size(moved[1])}",
        ratio=moved[0] / moved[1],
        bar="<= 0.08",
        met=moved[0] / moved[1] <= 0.08,
    )


def processes(setup: Setup) -> Iterator[Row]:
    """Compare two worker processes with one."""
    network = "unet"
    runtime = chosen(setup, network)["runtime"]
    spread = partial(measured, "ways", "spread", setup, network=network, runtime=runtime)
    ways = {str(count): partial(spread, workers=count) for count in (1, 2)}
    best = in_turn(ways, setup.repeats)
    efficiency = best["1"]["seconds"] / best["2"]["seconds"] / 2
    yield Row(
        part="processes",
        figure=f"U-Net, {runtime}: 2 processes of one thread",
        found=seconds(best["2"]),
        against=f"1 process {seconds(best['1'])}",
        ratio=efficiency,
        bar=">= 0.9",
        met=efficiency >= 0.9,
    )


PARTS: Mapping[str, Callable[[Setup], Iterator[Row]]] = {
    "speed": speed,
    "runtimes": runtimes,
    "peers": peers,
    "memory": memory,
    "graph": graph,
    "region": region,
    "processes": processes,
}
