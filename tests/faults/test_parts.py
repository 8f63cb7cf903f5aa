"""Long benchmarks keep what they have found, part by part, and go on."""

import random
from collections import Counter

import pytest

from benchmarks.faults.__main__ import shaken
from benchmarks.faults.storm import Found
from benchmarks.parts import Parts
from hypernudge.errors import InvalidArgumentError


def test_a_storm_that_was_ended_goes_on_with_the_next_study(tmp_path):
    path, settings, done = tmp_path / "kept" / "parts.json", {"benchmark": "faults", "seed": 1}, []

    def study(folder, number, kinds, rng):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append((number, list(kinds), rng.random()))
        wrong = {**Found().wrong, "lost": [f"in study {number}"]}
        if number == 0:  # a worker was to be killed, and there was none
            return Found(Counter(kinds[:2]), studies=1, trials=40, wrong=wrong), 3
        return Found(Counter(kinds[:2]), studies=1, trials=40, wrong=wrong), 2

    kinds = ["driver", "node", "worker", "worker", "disk"]
    with pytest.raises(KeyboardInterrupt):
        shaken("ray", kinds, 1, tmp_path / str(random.random()), Parts(path, settings), study)
    assert [number for number, *_ in done] == [0, 1]
    before = path.read_text()
    done.clear()
    found = shaken("ray", kinds, 1, tmp_path, Parts(path, settings), study)
    assert [(number, kinds) for number, kinds, _ in done] == [(2, ["disk"])]
    assert found.kills == Counter(kinds) and found.studies == 3 and found.trials == 120
    assert found.wrong["lost"] == ["in study 0", "in study 1", "in study 2"]
    assert path.read_text() != before
    again = shaken("ray", kinds, 1, tmp_path / "again", Parts(path, settings), study)
    assert again == found and len(done) == 1


@pytest.mark.parametrize("content", ["[]", "{", '{"settings": {"benchmark": "other"}, "parts": {}}'])
def test_a_file_of_something_else_is_refused(content, tmp_path):
    path = tmp_path / "parts.json"
    path.write_text(content)
    with pytest.raises(InvalidArgumentError, match="--output: must be of this benchmark") as refused:
        Parts(path, {"benchmark": "scale"})
    assert "\n" not in str(refused.value)
    assert path.read_text() == content
