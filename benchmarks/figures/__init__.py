"""Every published figure, drawn again from published records: `python -m benchmarks.figures`."""
