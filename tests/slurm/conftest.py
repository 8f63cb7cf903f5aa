"""One cluster for all tests of this folder; where Slurm is not installed they are skipped, and say so."""

import os

import pytest

from tests.slurm import cluster as slurm


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/slurm/" in str(item.path).replace(os.sep, "/"):
            item.add_marker(pytest.mark.slurm)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_cluster():
    lacking = slurm.missing()
    if lacking:
        pytest.skip(f"Slurm is not installed ({', '.join(lacking)}); python tests/slurm/cluster.py install")
    with slurm.running() as found:
        yield found


@pytest.fixture
def cluster(shared_cluster, monkeypatch):
    """The cluster, with its commands on the path of this process and its children."""
    for name, value in shared_cluster.env.items():
        monkeypatch.setenv(name, value)
    yield shared_cluster
    shared_cluster.run("scancel", "--quiet", f"--user={os.getuid()}", check=False)
