"""An S3 endpoint (moto server) on the loopback address."""

import os
import sys
from pathlib import Path

import requests

from servers.processes import Process

APP = Path(__file__).with_name("moto_app.py")


class ObjectServer(Process):
    """An S3 endpoint, from `with` to its end."""

    def __init__(self):
        hidden = ("PYTHON", "AWS_")
        own = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        super().__init__([sys.executable, str(APP)], own)

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
