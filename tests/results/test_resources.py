"""What work took: measured, added up, written with events and read again."""

import dataclasses
import json
import math

import pytest

from hypernudge.results.resources import Meter, Resources, processor_seconds
from hypernudge.study.events import EventCodec
from hypernudge.trial import Config, Job, Nudge, Report, Started, UnitResult
from tests.study.tools import SPACE

USED = Resources(3.0, 2.5, 1.5, 4096, "worker-1", "here", 2, 0.5)


def test_a_meter_counts_processor_time_from_when_it_was_made():
    before, meter = processor_seconds(), Meter(gpus=0.5, worker="worker-3", attempt=4)
    while processor_seconds() - before < 0.05:  # so much of it, however long that takes
        math.sqrt(2.0)
    found = meter.read()
    assert 0.04 <= found.core_seconds <= processor_seconds() - before
    assert found.wall_seconds > 0
    assert found.gpu_seconds == 0.5 * found.wall_seconds
    assert found.peak_gpu_bytes is None  # nothing here uses a GPU
    assert (found.worker, found.attempt) == ("worker-3", 4) and found.node


def test_two_are_added_up():
    other = Resources(1.0, 1.0, 0.25, None, "worker-2", "there", 3, 2.0)
    assert USED + other == Resources(4.0, 3.5, 1.75, 4096, "worker-2", "there", 3, 2.5)


def test_events_carry_them_where_they_were_measured_and_only_there():
    config = Config({"lr": 0.1, "width": 4})
    nudge = Nudge(config, "own", resources=USED)
    job = Job(0, config, 0, 1)
    report = Report(job, "ok", 0.0, 1.0, (UnitResult(1, 1.0, 0.5, 0.5),), 1.0, resources=USED)
    plain = [Started(0, config, dataclasses.replace(nudge, resources=None), 0.0), job]
    plain.append(dataclasses.replace(report, resources=None))
    for events in ([Started(0, config, nudge, 0.0), job, report], plain):
        writer, reader = EventCodec(SPACE), EventCodec(SPACE)
        lines = [json.dumps(writer.encode(event)) for event in events]
        assert [reader.decode(json.loads(line)) for line in lines] == events
        assert ["resources" in line for line in lines] == [events is not plain, False, events is not plain]


def test_damaged_resources_are_no_event():
    config = Config({"lr": 0.1, "width": 4})
    codec = EventCodec(SPACE)
    line = codec.encode(Started(0, config, Nudge(config, "own", resources=USED), 0.0))
    line["nudge"]["resources"]["wall_seconds"] = "long"
    with pytest.raises(ValueError):
        EventCodec(SPACE).decode(line)
