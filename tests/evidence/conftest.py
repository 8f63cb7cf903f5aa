import shutil

import pytest

from hypernudge.evidence.report.evaluate import evaluate
from tests.evidence.synthetic import write_study


@pytest.fixture(scope="session")
def small_study(tmp_path_factory):
    """Two tasks, three methods, ten seeds, nothing missing; read only."""
    return write_study(
        tmp_path_factory.mktemp("small") / "study",
        tasks=("digits_mlp", "digits_cnn"),
        methods=("none", "literal", "curvature_band"),
        seeds=range(10),
        target=0.8,
    )


@pytest.fixture(scope="session")
def evaluated(small_study, tmp_path_factory):
    """The small study, evaluated with figures: (directory, events, evaluation)."""
    root = tmp_path_factory.mktemp("evaluated") / "study"
    shutil.copytree(small_study, root)
    events = []
    return root, events, evaluate(root, events.append)


@pytest.fixture
def study_copy(small_study, tmp_path):
    """A copy that a test may damage."""
    root = tmp_path / "study"
    shutil.copytree(small_study, root)
    return root
