"""A halo that was measured: how small, and how often classes differ from those of the exact one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

EFFECTIVE: Final = "effective"
"""What is given in place of a number so that it is measured."""

DISAGREEMENT = 1e-4
"""Share of classes that may differ from those of the exact halo, by default."""

ATTRIBUTES = {
    "halo": "halo",
    "halo_exact": "exact",
    "halo_disagreement": "disagreement",
    "halo_disagreement_upper": "upper",
    "halo_bound": "bound",
    "halo_sample_pixels": "pixels",
    "halo_sample_tiles": "tiles",
}
"""Of the layers, and what they hold of an `EffectiveHalo`."""


@dataclass(frozen=True, kw_only=True)
class EffectiveHalo:
    """A halo that was measured, and how."""

    halo: int
    """Pixels, a multiple of the networks' total stride."""

    exact: int
    """Pixels: the halo that gives what the whole image gives."""

    disagreement: float
    """Share of the sample's pixels whose class differs from that of the exact halo, 0-1."""

    upper: float
    """Upper confidence bound (95 %) of it; 0 of the exact halo."""

    bound: float
    """What was asked for: the largest share that may differ."""

    pixels: int
    """Of the sample that were measured, and compared."""

    tiles: int
    """Of the sample."""

    def attrs(self) -> dict[str, Any]:
        """Return it as the attributes of layers."""
        return {name: getattr(self, own) for name, own in ATTRIBUTES.items()}

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON; `EffectiveHalo(**content)` makes it again."""
        return asdict(self)


Halo = int | Literal["effective"] | EffectiveHalo | None
"""As it is asked for; None is the exact one."""


def of_attrs(attrs: Mapping[str, Any]) -> EffectiveHalo | None:
    """Return the halo that layers were predicted with, None if it was not measured.

    Parameters
    ----------
    attrs : mapping
        Of the layers.
    """
    if not set(ATTRIBUTES) <= set(attrs):
        return None
    found = {own: attrs[name] for name, own in ATTRIBUTES.items()}
    return EffectiveHalo(
        halo=int(found["halo"]),
        exact=int(found["exact"]),
        disagreement=float(found["disagreement"]),
        upper=float(found["upper"]),
        bound=float(found["bound"]),
        pixels=int(found["pixels"]),
        tiles=int(found["tiles"]),
    )
