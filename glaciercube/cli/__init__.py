"""The command line: `python -m glaciercube demo | map | run | ...`, thin over the verbs."""

import argparse
import sys
import warnings
from collections.abc import Sequence

import glaciercube
from glaciercube.errors import GlacierCubeError, GlacierCubeWarning
from glaciercube.optional import load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        As typed after `python -m glaciercube`; those of the process by default.

    Returns
    -------
    int
        0 if all went well; 1 if something failed, said in one line on the error output.
    """
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            load(f"glaciercube.cli.{options.module}").run(options)
    except (GlacierCubeError, ImportError, OSError) as error:
        print(f"error in {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="python -m glaciercube", description=glaciercube.__doc__)
    parser.add_argument("--version", action="version", version=glaciercube.__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_demo(commands)
    _add_map(commands)
    _add_sensors(commands)
    _add_train(commands)
    _add_run(commands, "run", "run a plan, or go on with a run that was interrupted")
    _add_run(commands, "resume", "go on with a run that was interrupted")
    _add_status(commands)
    _add_verify(commands)
    return parser


def _add_demo(commands):
    demo = commands.add_parser("demo", help="the main job on a simulated archive")
    demo.set_defaults(module="demo")
    demo.add_argument("--out", required=True, help="folder for the archive and all results")
    demo.add_argument("--seed", type=int, default=0, help="of the simulation (default 0)")


def _add_map(commands):
    files = commands.add_parser("map", help="glacier extent and facies from your own GeoTIFFs")
    files.set_defaults(module="mapping")
    files.add_argument("files", nargs="+", metavar="FILE", help="one multiband GeoTIFF per date")
    files.add_argument("--sensor", required=True, help="such as sentinel-2-l1c")
    files.add_argument("--out", required=True, help="folder for the results")
    files.add_argument(
        "--dates",
        nargs="+",
        metavar="YYYY-MM-DD",
        help="one per file, in their order; read from the file names by default",
    )
    files.add_argument(
        "--check",
        choices=("warn", "raise", "trust-pixels", "trust-metadata"),
        default="warn",
        help="where the pixels show another radiometric offset than is declared: correct it and "
        "say so (warn, the default), stop (raise), correct it in silence (trust-pixels), or "
        "believe the metadata (trust-metadata)",
    )
    files.add_argument("--outlines", metavar="FILE", help="glacier outlines to report by glacier")
    files.add_argument("--overwrite", action="store_true", help="replace stores of another input")


def _add_sensors(commands):
    table = commands.add_parser("sensors", help="the satellites that are known")
    table.set_defaults(module="sensors")
    table.add_argument(
        "--check",
        metavar="DIR",
        help="say for each STAC document of a folder which sensor it is of, whether its bands are "
        "found and which offset it declares, or why it is refused",
    )


def _add_train(commands):
    train = commands.add_parser("train", help="train a bundled network")
    train.set_defaults(module="training")
    train.add_argument("name", help="facies or extent")
    train.add_argument("--data", required=True, help="folder with the labelled spectra")
    train.add_argument("--out", required=True, help="folder for the weights and the card")
    train.add_argument("--steps", type=int, help="optimiser steps (a full training by default)")
    train.add_argument("--seed", type=int, default=0)


def _add_run(commands, name, text):
    job = commands.add_parser(name, help=text)
    job.set_defaults(module="jobs")
    job.add_argument("plan", metavar="PLAN", help="a plan of tiles (GeoParquet)")
    job.add_argument("--out", required=True, metavar="DIR", help="folder for all results")
    job.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask scheduler, or its file (.json); workers of this machine by default",
    )
    job.add_argument("--workers", type=int, metavar="N", help="processes to start here")
    job.add_argument("--threads", type=int, metavar="N", help="of each worker")
    job.add_argument("--memory-limit", metavar="SIZE", help="of each worker, such as 4GiB")
    job.add_argument("--retries", type=int, default=2, help="of a step (default 2)")
    job.add_argument(
        "--spread",
        choices=("auto", "tiles", "blocks"),
        default="auto",
        help="what workers share: whole tiles, or the blocks of one after the other",
    )
    job.add_argument("--gpu", action="store_true", help="predict on workers with a resource GPU")
    job.add_argument(
        "--halo",
        type=_halo,
        metavar="PIXELS",
        help="read around each block in prediction: a number, or 'effective', measured on the "
        "first tile; as the run was begun by default, the exact halo for a new one",
    )
    job.add_argument(
        "--disagreement",
        type=float,
        metavar="SHARE",
        help="of classes that an effective halo may change at most (default 1e-4)",
    )
    job.add_argument(
        "--runtime",
        help="how networks run, such as 'torch'; as the run was begun by default, 'auto' for a "
        "new one: the fastest that agrees with float32, measured on the first tile",
    )
    job.add_argument(
        "--retry-unread", action="store_true", help="read again what could not be read before"
    )


def _halo(text):
    return int(text) if text.isdecimal() else text


def _add_status(commands):
    status = commands.add_parser("status", help="how far a run is, from its files")
    status.set_defaults(module="jobs")
    status.add_argument("plan", metavar="PLAN")
    status.add_argument("--out", required=True, metavar="DIR")


def _add_verify(commands):
    verify = commands.add_parser("verify", help="check a store, or all stores of a run")
    verify.set_defaults(module="jobs")
    verify.add_argument("path", metavar="PATH", help="a store, or the folder of a run")
    verify.add_argument(
        "--repair", action="store_true", help="compute missing and corrupt blocks again"
    )
    verify.add_argument("--plan", help="of the run, if its file has moved since")


def _show_warning(message, category, filename, lineno, file=None, line=None):
    """Show our own warnings in one line; leave a dependency's to the log of the process."""
    if issubclass(category, GlacierCubeWarning):
        print(f"warning: {message}", file=sys.stderr)
