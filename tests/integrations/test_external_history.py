"""What was recorded of warm starts in another tool's study is read back, whichever version wrote it."""

import dataclasses
import json

from hypernudge.integrations._external_history import ExternalHistory, nudge_of, record_of
from hypernudge.space import Config
from hypernudge.trial import Nudge, Started

NUDGE = Nudge(
    Config({"lr": 0.1}),
    "informed",
    changed=True,
    reason="prior: best of 24 draws, at z = 0.10",
    z=0.1,
    flops=3.0,
    measurements={"log10_probe": -0.2},
    kind="prior",
)


def test_a_record_is_plain_and_comes_back():
    record = json.loads(json.dumps({**record_of(NUDGE), "config": dict(NUDGE.config)}))
    assert record["kind"] == "prior" and nudge_of(record) == NUDGE


def test_records_of_earlier_and_later_versions_are_read():
    record = record_of(NUDGE)
    earlier = {name: value for name, value in record.items() if name != "kind"}
    assert nudge_of(earlier) == dataclasses.replace(NUDGE, kind="moved")
    assert nudge_of({**earlier, "changed": False}).kind == "unchanged"
    assert nudge_of({**record, "trial": 3, "sampled": {}, "of a later version": 1}) == NUDGE


def test_a_history_comes_back_with_why():
    external = ExternalHistory()
    external.started(Config({"lr": 0.3}), NUDGE)
    external.scored(0, 1, 0.5)
    again = ExternalHistory.from_state(external.state())
    assert [event for event in again.history.events if isinstance(event, Started)] == [
        Started(0, Config({"lr": 0.3}), NUDGE, 0.0)
    ]
    assert again.history.trials[0].milestones == {1: 0.5}
