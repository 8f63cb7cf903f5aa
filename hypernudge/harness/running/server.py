"""What the workers' fork server imports before it forks its first; see `local`."""

from __future__ import annotations

import atexit
import os

import hypernudge.harness.cells.cell  # for its imports
import hypernudge.harness.cells.group
import hypernudge.harness.running.train  # noqa: F401

# Taking PyTorch apart costs most of a second, and whoever reads the server's output waits for it. Workers
# leave without running this. The last function registered is the first one called.
atexit.register(os._exit, 0)
