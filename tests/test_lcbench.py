"""The LCBench surrogate, where its files and onnxruntime are."""

from pathlib import Path

import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.random import stream
from hypernudge.tasks.lcbench import UNITS, LCBench

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "hpo_yahpo" / "lcbench"
needs_files = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the surrogate is not at {FOLDER}")


@needs_files
def test_trains_a_curve_that_is_the_surrogates():
    pytest.importorskip("onnxruntime", reason="extra surrogates")
    task = LCBench(FOLDER, 3945)
    scores = []
    for number in range(3):
        config, state = task.space.sample(stream(0, number)), task.start(0)
        for _ in range(UNITS):
            assert task.advance(state, config)
            scores.append(task.evaluate(state, "validation"))
        assert 0.0 <= task.evaluate(state, "test") <= 1.0
        assert 0.1 < task.unit_flops(config) < 1000
        with pytest.raises(InvalidArgumentError, match="52"):
            task.advance(state, config)
    assert 0.3 < min(scores) < max(scores) < 1.0
    with pytest.raises(InvalidArgumentError, match="instance"):
        LCBench(FOLDER, 1)


def test_missing_files_are_told(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"must hold model\.onnx"):
        LCBench(tmp_path)
