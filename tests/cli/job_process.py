"""The command line as a process, with plans made on the simulated archive of a folder."""

import sys

from cluster.made import archive_of, plan_of

from glaciercube.cli import main
from glaciercube.cluster import plans


def read_plan(path):
    """Return the plan of three tiles on the archive of a folder."""
    return plan_of(archive_of(path, dates=None), tiles=3)


if __name__ == "__main__":
    plans.read_plan = read_plan
    sys.exit(main())
