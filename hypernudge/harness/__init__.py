"""Experiments as plans of cells: configuration, records, launching, status."""
