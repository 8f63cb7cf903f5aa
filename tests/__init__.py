"""Tests of hypernudge."""

import os

# Processes of tests share the cores, and threads of BLAS wait for each other on small matrices: tests of
# models take three to eight times the processor time. NumPy asks when imported; other processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Under `uv run` Ray's processes would each install an environment of their own. What hypernudge starts does
# without by itself; this is for clusters that tests start as a user does.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
