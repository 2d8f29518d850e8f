"""Real servers on the loopback address for tests: files by range, faults, a STAC API, S3."""
