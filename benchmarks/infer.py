"""The lazy operator against the bare network and against what others do today.

Run: python benchmarks/infer.py [--quick] [--only speed,memory] [--folder DIR] [--markdown FILE]
Every way runs in a process of its own, alternating, with the same threads; the best of the repeats
counts. Read the ratios, not the seconds. Cube (simulated) and networks are made first and stay in
the folder, so that parts can be run one by one. Peers that are not installed are skipped:
pip install xbatcher monai
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from inference.parts import PARTS, prepare
from inference.rows import Row, markdown, printed
from inference.setup import NETWORKS, Setup

QUICK = {
    "size": 768, "dates": 2, "block": 256, "width": 8, "steps": 60, "truth": 512, "repeats": 1,
    "networks": ("unet",), "long_size": 512, "graph_dates": 20, "tile": 256,
}  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small cube and one repeat")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--networks", default="", help=f"some of {','.join(NETWORKS)}")
    parser.add_argument("--repeats", type=int, help="of what is timed in turn (2)")
    parser.add_argument("--size", type=int, help="rows and columns of the cube (4096)")
    parser.add_argument("--dates", type=int, help="of the cube (3)")
    parser.add_argument("--steps", type=int, help="that the U-Net is trained for (1000)")
    parser.add_argument("--folder", help="of cubes and networks, kept; a temporary one by default")
    parser.add_argument("--markdown", help="file for the table")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := sorted(set(parts) - PARTS.keys()):
        parser.error(f"--only needs some of {list(PARTS)}, found {unknown}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        more = QUICK if options.quick else {}
        given = {name: getattr(options, name) for name in ("repeats", "size", "dates", "steps")}
        more |= {name: value for name, value in given.items() if value}
        if options.networks:
            more |= {"networks": tuple(options.networks.split(","))}
        setup = Setup(folder=str(folder), **more)
        began = time.perf_counter()
        prepare(setup)
        print(f"cube and networks: {time.perf_counter() - began:.0f} s", flush=True)
        rows = list(printed(rows_of(setup, parts)))
    if options.markdown:
        Path(options.markdown).write_text(markdown(rows))
    missed = [row.figure for row in rows if row.met is False]
    print(f"{len(missed)} of {sum(row.met is not None for row in rows)} bars missed", *missed,
          sep="\n  ")  # fmt: skip


def rows_of(setup: Setup, parts: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of some parts, and say what each took."""
    for name in parts:
        began = time.perf_counter()
        yield from PARTS[name](setup)
        print(f"{name} took {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
