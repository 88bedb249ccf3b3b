"""What a peer is asked and how it answers.

A script gets the path of a JSON file that says what to measure, and prints one line of JSON: what it
measured, and what it really used, so that the runner can refuse a measurement of something else.
"""
import importlib.metadata
import json
import sys
import time

BEGAN = time.perf_counter()
ASKED = json.loads(open(sys.argv[1], encoding="utf-8").read())


class Stretch:
    """Seconds of a stretch of work, and how many cores it kept busy."""

    def __enter__(self):
        self.cpu, self.wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.wall
        self.cores = (time.process_time() - self.cpu) / self.seconds


def p95(moments):
    """The wait that 95 of 100 waits between these moments do not exceed."""
    waits = sorted(later - earlier for earlier, later in zip(moments, moments[1:]))
    return waits[-(-len(waits) * 95 // 100) - 1] if waits else None


def answer(packages, threads, model, **figures):
    """Prints what was measured with what."""
    used = {
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "threads": threads,
        "model": str(model),
    }
    print(json.dumps({"used": used, **{name: it for name, it in figures.items() if it is not None}}))
