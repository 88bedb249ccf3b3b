#!/usr/bin/env python3
# pins: tensorboard==2.21.0 numpy==2.4.6
"""Compares what TensorBoard reads from a run's folder with the lines of its `metrics.jsonl`.

    python read_events.py RUN

Prints how many values agree; fails at the first that does not, or that stands on one side only.
"""
import json
import math
import pathlib
import struct
import sys

from tensorboard.backend.event_processing import event_accumulator


def written(folder):
    """Every scalar of a folder of event files: (tag, step) to value."""
    accumulator = event_accumulator.EventAccumulator(
        str(folder), size_guidance={event_accumulator.SCALARS: 0})
    accumulator.Reload()
    found = {}
    for tag in accumulator.Tags()["scalars"]:
        for event in accumulator.Scalars(tag):
            assert (tag, event.step) not in found, f"{folder}: {tag} of step {event.step} comes twice"
            found[tag, event.step] = event.value
    return found


def told(run):
    """What the lines say: scalars of updates and of evaluations."""
    training, validation = {}, {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(line)
        step = line["update"]
        if line["event"] == "step":
            for tag in ("loss", "learning_rate", "gradient_norm"):
                training[tag, step] = line[tag]
            if line["seconds"] > 0:
                training["tokens_per_second", step] = line["tokens_computed"] / line["seconds"]
        elif line["event"] == "evaluated":
            values = {line["validation_metric"]: line["metric"], **line["values"]}
            validation.update({(tag, step): value for tag, value in values.items()})
    return training, validation


def single(value):
    """As JSON has no NaN, `null` stands for it."""
    return math.nan if value is None else struct.unpack("f", struct.pack("f", value))[0]


def compare(name, ours, theirs):
    assert ours.keys() == theirs.keys(), f"{name}: {sorted(ours.keys() ^ theirs.keys())} on one side only"
    for at, value in ours.items():
        value = single(value)
        assert value == theirs[at] or (math.isnan(value) and math.isnan(theirs[at])), f"{name}: {at}"


run = pathlib.Path(sys.argv[1])
training, validation = told(run)
compare("training", training, written(run / "logs/training"))
compare("validation", validation, written(run / "logs/validation") if validation else {})
assert training, f"{run} holds no update"
print(f"{len(training)} values of updates and {len(validation)} of evaluations agree")
