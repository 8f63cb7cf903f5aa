"""What measuring and choosing take of a cell's time."""
