"""Simulate: a glacier with known truth, as a STAC archive of COGs.

The folder bears the name of a verb, so it can be called like one: `glaciercube.simulate(...)`
works whether or not this module has been imported before.
"""

import sys
from types import ModuleType
from typing import Any

from glaciercube.optional import load


class _CallableModule(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return load("glaciercube.simulate.archive").simulate(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
