"""Many glaciers as one job: a plan of tiles, its run on a Dask cluster, its state."""
