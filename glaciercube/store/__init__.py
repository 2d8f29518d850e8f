"""Store: the Zarr cube, its blocks and its ledger."""
