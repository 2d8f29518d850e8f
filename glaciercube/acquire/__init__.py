"""Acquire: catalogues, files, outlines and terrain into a lazy cube on one grid."""
