"""Model: networks, cards and weights.

What a user calls is loaded when it is first used, as torch is with it.
"""

from importlib import import_module
from typing import Any

PUBLIC = {
    "ModelCard": "card",
    "hold": "authoring",
    "import_keras": "published",
    "inspect": "inspector",
    "inspect_again": "authoring",
    "read_card": "card",
    "write_card": "card",
    "write_network": "authoring",
}
"""Names that can be imported from here, and their modules."""

__all__ = list(PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(
            f"module 'glaciercube.model' has no attribute {name!r}; it has {__all__}"
        )
    return getattr(import_module(f"glaciercube.model.{PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})
