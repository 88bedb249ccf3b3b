#!/usr/bin/env python3
# pins: tensorboard==2.21.0 numpy==2.4.6
"""Event files of a run that was killed and went on, as TensorBoard's own code writes them.

The training file of the first part ends in the middle of a record. What TensorBoard reads from the
whole is checked here: no step has two values, and those after the checkpoint are the later ones.
"""
import math
import pathlib
import shutil
import struct

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

AT = 1_700_000_000.25
LOGS = pathlib.Path("logs")


def start(last):
    yield event_pb2.Event(wall_time=AT, file_version="brain.Event:2")
    session = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    yield event_pb2.Event(wall_time=AT, step=last + 1, session_log=session)


def scalars(step, **values):
    named = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    return event_pb2.Event(wall_time=AT, step=step, summary=summary_pb2.Summary(value=named))


def update(step, loss):
    return scalars(step, loss=loss, learning_rate=2e-4 * step, gradient_norm=0.75, tokens_per_second=1200.0)


def evaluation(step, loss):
    return scalars(step, accuracy=0.5, loss=loss)


def write(folder, seconds, events, cut=0):
    path = LOGS / folder / f"events.out.tfevents.{seconds}.fidelio"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString(deterministic=True))
        file.truncate(file.tell() - cut)


def read(folder, tag):
    accumulator = event_accumulator.EventAccumulator(str(LOGS / folder))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


shutil.rmtree(LOGS, ignore_errors=True)
steps = [update(1, 3.0), update(2, 2.5), update(3, 9.0), update(4, 8.0)]
write("training", 1_700_000_000, [*start(0), *steps], cut=9)
write("validation", 1_700_000_000, [*start(0), evaluation(2, 2.75)])
write("training", 1_700_000_001, [*start(2), update(3, 2.0), update(4, 1.5)])
write("validation", 1_700_000_001, [*start(2), evaluation(4, math.nan)])

single = lambda value: struct.unpack("f", struct.pack("f", value))[0]
assert read("training", "loss") == [(1, 3.0), (2, 2.5), (3, 2.0), (4, 1.5)]
assert read("training", "learning_rate") == [(n, single(2e-4 * n)) for n in (1, 2, 3, 4)]
assert read("validation", "accuracy") == [(2, 0.5), (4, 0.5)]
(first, last) = read("validation", "loss")
assert first == (2, 2.75) and last[0] == 4 and math.isnan(last[1])
