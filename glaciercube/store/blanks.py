"""Blocks that hold nothing and are known to before anything is computed: no task, a record only."""

from collections.abc import Iterable, Mapping

import numpy as np
import xxhash

from glaciercube.store import ledger
from glaciercube.store.layout import Block, Layout
from glaciercube.store.places import Place
from glaciercube.store.planning import Plan


def untouched(plan: Plan, blocks: Iterable[Block]) -> list[Block]:
    """Return the blocks outside the regions of interest of all their variables.

    Parameters
    ----------
    plan : Plan
    blocks : iterable of Block
    """
    layout = plan.header.layout
    known: dict[tuple[bool, int, int], bool] = {}
    found = []
    for block in blocks:
        place = (block.time is not None, block.row, block.column)
        if place not in known:
            known[place] = not _touched(plan, layout, block)
        if known[place]:
            found.append(block)
    return found


def _touched(plan, layout, block):
    window = layout.window(block)
    for stored in layout.of(block.time is not None):
        making = plan.makings.get(stored.name)
        if making is None or making.touches is None or making.touches(window):
            return True
    return False


def record(plan: Plan, place: Place, blocks: Iterable[Block], made_of: Mapping[Block, str]) -> None:
    """Write the records of blocks that hold nothing.

    Parameters
    ----------
    plan : Plan
    place : Place
    blocks : iterable of Block
        Without data and without a record.
    made_of : mapping of Block to str
        Fingerprint of each.
    """
    layout = plan.header.layout
    sums: dict[tuple, str] = {}
    for block in blocks:
        kind = (block.time is not None, layout.window(block).shape)
        if kind not in sums:
            sums[kind] = _checksum(layout, block)
        date = "" if block.time is None else plan.header.times[block.time]
        told = ledger.Record(
            state="empty", checksum=sums[kind], fingerprint=made_of[block], date=date
        )
        ledger.write_record(place, block, told)
        ledger.forget(place, [block], failed=True)


def _checksum(layout: Layout, block: Block) -> str:
    """Return the checksum of a block of nothing, as `blocks.write_block` makes it."""
    digest = xxhash.xxh3_128()
    for stored in layout.of(block.time is not None):
        digest.update(np.full(layout.block_shape(stored, block), stored.blank, stored.codes).data)
    return digest.hexdigest()
