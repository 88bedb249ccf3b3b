#!/usr/bin/env python3
"""Reads what Fidelio wrote and says how far PEFT, transformers and llama.cpp are from its answers.

Its argument is a file that `tests/facade/foreign.rs` writes; its answer is JSON on stdout.
Everything is computed in f32.
"""
import json
import pathlib
import sys

import torch
import xllamacpp
from peft import PeftModel
from transformers import AutoModelForCausalLM

asked = json.loads(pathlib.Path(sys.argv[1]).read_text())
ids = torch.tensor([asked["ids"]])
how = {"dtype": torch.float32, "attn_implementation": "eager"}


def base():
    path = pathlib.Path(asked["base"])
    return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, **how)


def difference(model, logits):
    with torch.no_grad():
        return (model(input_ids=ids).logits[0] - torch.tensor(logits)).abs().max().item()


def greedy(path):
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = 512
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    answer = server.handle_completions({
        "prompt": asked["ids"], "max_tokens": asked["tokens"], "temperature": 0.0,
    })
    return answer["choices"][0]["text"]


adapters = {
    name: difference(PeftModel.from_pretrained(base(), adapter["folder"]).eval(), adapter["logits"])
    for name, adapter in asked["adapters"].items()
}
with torch.no_grad():
    first = asked["adapters"]["plain"]
    merged = AutoModelForCausalLM.from_pretrained(asked["merged"], **how)
    merged = difference(merged, first["logits"])
json.dump({"adapters": adapters, "merged": merged, "greedy": [greedy(it) for it in asked["gguf"]]}, sys.stdout)
