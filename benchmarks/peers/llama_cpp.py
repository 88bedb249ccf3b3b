"""llama.cpp, through the server that the package `xllamacpp` holds: greedy, without its prompt cache.

Its own clock starts when a request is taken up and again with the first token, as Fidelio's does.
"""
from task import ASKED, Stretch, answer, p95  # first: its clock starts the process's

import concurrent.futures
import time

import xllamacpp

from task import BEGAN


def server(rows, room):
    """A server of one model with room for so many rows of so many tokens."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = ASKED["model"]
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = ASKED["threads"]
    parameters.cpuparams_batch.n_threads = ASKED["threads"]
    parameters.n_parallel = rows
    parameters.n_ctx = rows * room
    parameters.n_batch = max(parameters.n_batch, room)
    parameters.warmup = ASKED["kind"] != "start"
    # It would shrink what does not fit, and time its looking.
    parameters.fit_params = False
    made = xllamacpp.Server(parameters)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        if not any(line.rstrip().endswith(ASKED["model"]) for line in maps):
            raise SystemExit(f"llama.cpp has not mapped {ASKED['model']}")
    return made, parameters.cpuparams.n_threads


def asked(ids, new, **more):
    greedy = {"temperature": 0.0, "samplers": ["temperature"], "ignore_eos": True}
    return {"prompt": ids, "max_tokens": new, "cache_prompt": False, **greedy, **more}


def whole(said, ids, new):
    """The timings of an answer that is as long as asked."""
    timings = said["timings"]
    if (timings["prompt_n"], timings["predicted_n"], timings["cache_n"]) != (len(ids), new, 0):
        raise SystemExit(f"not the {len(ids)} + {new} tokens asked for: {timings}")
    return timings


def one(llama, ids, new):
    """The tokens after the prompt, as they come."""
    moments, last = [], {}

    def on(chunk):
        moments.append(time.perf_counter())
        if "timings" in chunk:
            last.update(chunk)
        return False

    llama.handle_completions(asked(ids, new, stream=True), on)
    return whole(last, ids, new), moments


def decode():
    ids, new = ASKED["prompts"][0], ASKED["new_tokens"] + 1
    llama, threads = server(1, len(ids) + new + 8)
    one(llama, ids, new)
    with Stretch() as stretch:
        timings, moments = one(llama, ids, new)
    return threads, {
        # Of so many tokens the first belongs to the prompt.
        "tokens_per_second": (new - 1) / timings["predicted_ms"] * 1e3,
        "first_token_seconds": timings["prompt_ms"] / 1e3,
        "next_token_p95_seconds": p95(moments[:new]),
        "cores": stretch.cores,
    }


def prefill():
    ids = ASKED["prompts"][0]
    llama, threads = server(1, len(ids) + 8)
    llama.handle_completions(asked(ids, 1))
    with Stretch() as stretch:
        timings = whole(llama.handle_completions(asked(ids, 1)), ids, 1)
    seconds = timings["prompt_ms"] / 1e3
    rate = len(ids) / seconds
    return threads, {"tokens_per_second": rate, "first_token_seconds": seconds, "cores": stretch.cores}


def batch():
    rows, new = ASKED["prompts"], ASKED["new_tokens"]
    length = len(rows[0]) + new
    llama, threads = server(len(rows), length + 8)
    with concurrent.futures.ThreadPoolExecutor(len(rows)) as pool, Stretch() as stretch:
        said = list(pool.map(lambda ids: llama.handle_completions(asked(ids, new)), rows))
    for ids, it in zip(rows, said):
        whole(it, ids, new)
    rate = len(rows) * length / stretch.seconds
    return threads, {"tokens_per_second": rate, "cores": stretch.cores}


def start():
    ids = ASKED["prompts"][0]
    llama, threads = server(1, len(ids) + 8)
    whole(llama.handle_completions(asked(ids, 1)), ids, 1)
    return threads, {"seconds": time.perf_counter() - BEGAN}


threads, figures = {"decode": decode, "prefill": prefill, "batch": batch, "start": start}[ASKED["kind"]]()
answer(["xllamacpp"], threads, ASKED["model"], note=xllamacpp.get_system_info().strip(" |"), **figures)
