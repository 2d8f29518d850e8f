"""A server in a process of its own, that says its port and ends with its standard input."""

import subprocess


class Process:
    """A server, from `with` to its end.

    Parameters
    ----------
    command : sequence of str
    environment : dict
        Of the process.
    """

    def __init__(self, command, environment):
        self._command = command
        self._environment = environment

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command, env=self._environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        said = self._process.stdout.readline()
        if not said:
            self.__exit__()
            raise RuntimeError(f"{self._command} ended before it served")
        self.host = f"127.0.0.1:{int(said)}"
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process.stdout.close()
