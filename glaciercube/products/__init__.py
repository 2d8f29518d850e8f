"""Products: outlines, areas, snowlines and series from layers."""
