"""Tests of hypernudge."""

import os

# Processes of tests share the cores, and threads of BLAS wait for each other on small matrices: tests of
# models take three to eight times the processor time. NumPy asks when imported; other processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
