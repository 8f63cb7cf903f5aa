"""A cluster of two nodes of Ray on this machine, of which the second can be lost and come back."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any
from unittest import mock

from hypernudge.engine.workers.ray_cluster import QUIET

ATTEMPTS = 5


class Nodes:
    """A cluster of two nodes."""

    def __init__(self, cluster: Any, cores: int) -> None:
        self._cluster, self._cores = cluster, cores
        self._second = self._started()

    @property
    def address(self) -> str:
        """Where drivers connect."""
        return str(self._cluster.address)

    def lose_one(self) -> None:
        """Kill the second node with all that runs there, and start another one."""
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._second = self._started()

    def _started(self) -> Any:
        for left in reversed(range(ATTEMPTS)):
            try:
                return self._cluster.add_node(num_cpus=self._cores)
            except Exception:  # Ray gives it 30 s, which is not enough on a busy machine
                if not left:
                    raise
        raise AssertionError


@contextlib.contextmanager
def nodes(cores: int) -> Iterator[Nodes]:
    """Yield a cluster of two nodes with so many cores each, on loopback and known to nobody else."""
    from ray._private import ray_constants, utils
    from ray.cluster_utils import Cluster

    with (
        mock.patch.dict(os.environ, QUIET),
        mock.patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False),  # it was read when Ray was imported
        mock.patch.object(utils, "write_ray_address", lambda *args: None),  # others would connect to it
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder,
    ):
        head = {"num_cpus": cores, "include_dashboard": False, "temp_dir": folder}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield Nodes(cluster, cores)
        finally:
            cluster.shutdown()
