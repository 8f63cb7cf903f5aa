"""Speed and claim benchmarks."""
