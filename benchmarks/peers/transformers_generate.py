"""transformers on a folder of safetensors: greedy, with its cache, in the precision asked for."""
from task import ASKED, BEGAN, Stretch, answer, p95  # first: its clock starts the process's

import time

import torch
from transformers import AutoModelForCausalLM, DynamicCache

torch.set_num_threads(ASKED["threads"])
DTYPE = {"f32": torch.float32, "bf16": torch.bfloat16}[ASKED["precision"]]
MODEL = AutoModelForCausalLM.from_pretrained(ASKED["model"], dtype=DTYPE).eval()
if {parameter.dtype for parameter in MODEL.parameters()} != {DTYPE}:
    raise SystemExit(f"transformers has not loaded the model as {DTYPE}")


def step(ids, cache):
    logits = MODEL(ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
    return logits[:, -1].argmax(-1, keepdim=True)


def one(ids, new):
    """The moments of so many tokens after the prompt; the first is the prompt's end."""
    cache, moments = DynamicCache(), []
    following = torch.tensor([ids])
    for _ in range(new):
        following = step(following, cache)
        moments.append(time.perf_counter())
    return moments


def decode():
    ids, new = ASKED["prompts"][0], ASKED["new_tokens"] + 1
    one(ids, 8)
    with Stretch() as stretch:
        moments = one(ids, new)
    return {
        "tokens_per_second": (new - 1) / (moments[-1] - moments[0]),
        "first_token_seconds": moments[0] - stretch.wall,
        "next_token_p95_seconds": p95(moments),
        "cores": stretch.cores,
    }


def prefill():
    ids = ASKED["prompts"][0]
    one(ids, 1)
    with Stretch() as stretch:
        one(ids, 1)
    rate = len(ids) / stretch.seconds
    return {"tokens_per_second": rate, "first_token_seconds": stretch.seconds, "cores": stretch.cores}


def batch():
    rows, new = torch.tensor(ASKED["prompts"]), ASKED["new_tokens"]
    exactly = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}
    with Stretch() as stretch:
        said = MODEL.generate(rows, attention_mask=torch.ones_like(rows), **exactly)
    if said.shape != (rows.shape[0], rows.shape[1] + new):
        raise SystemExit(f"not the tokens asked for: {tuple(said.shape)}")
    return {"tokens_per_second": said.numel() / stretch.seconds, "cores": stretch.cores}


def start():
    one(ASKED["prompts"][0], 1)
    return {"seconds": time.perf_counter() - BEGAN}


with torch.inference_mode():
    figures = {"decode": decode, "prefill": prefill, "batch": batch, "start": start}[ASKED["kind"]]()
answer(["torch", "transformers"], torch.get_num_threads(), MODEL.config._name_or_path, **figures)
