"""An S3 endpoint (moto server) on the loopback address."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import requests

from servers.processes import Process

APP = Path(__file__).with_name("moto_app.py")


def moto_python():
    """Return a Python that has moto, None if there is none.

    moto needs botocore, which needs an older python-dateutil than the tested set has. So it lives
    in an environment of its own inside this one, made in the repository's root by:
    python3.11 -m venv .venv/moto && .venv/moto/bin/pip install -r tests/servers/moto.txt
    """
    here = find_spec("moto")
    if here is not None and here.origin:
        return sys.executable
    own = Path(sys.prefix) / "moto" / "bin" / "python"
    return str(own) if own.exists() else None


class ObjectServer(Process):
    """An S3 endpoint, from `with` to its end."""

    def __init__(self):
        hidden = ("PYTHON", "AWS_")
        own = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        super().__init__([moto_python(), str(APP)], own)

    def put(self, bucket, folder):
        """Put the files of a folder into a new bucket."""
        requests.put(f"http://{self.host}/{bucket}", timeout=10).raise_for_status()
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file():
                key = file.relative_to(folder).as_posix()
                address = f"http://{self.host}/{bucket}/{key}"
                requests.put(address, data=file.read_bytes(), timeout=10).raise_for_status()

    @property
    def environment(self):
        """Return the environment variables that make GDAL read from here."""
        return {
            "AWS_S3_ENDPOINT": self.host,
            "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
            "AWS_REGION": "us-east-1",
        }
