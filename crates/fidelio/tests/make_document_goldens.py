#!/usr/bin/env python3
# pins: {torch}
# fetch: models
# args: {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf
# stdout: facade/fixtures/documents.json
"""The loss of plain documents under SmolLM2 in f32, by transformers.

A document is its text and EOS. One that does not fit is read in windows that repeat OVERLAP tokens, which are
not counted again; so every token but a document's first is counted once.
"""
import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

GGUF = pathlib.Path(sys.argv[1])
CONTEXT, OVERLAP = 48, 8
DOCUMENTS = [
    "The mill stood on the river until the flood of 1871 took the wheel, the store and half of the bridge. "
    "For ten years nobody ground corn in the valley; carts went to the town on the other side of the hills, "
    "which took a day in summer and three in winter. When the wheel was built again, it was of iron, and the "
    "miller's daughter kept the books: how many sacks came in, how many went out, and what the river did.",
    "def mean(values):\n    \"\"\"The sum of the values over their number.\"\"\"\n    return sum(values) / len(values)\n",
]


def windows(ids):
    """Ranges of tokens with the first that is counted."""
    found, done = [(0, min(CONTEXT, len(ids)), 1)], min(CONTEXT, len(ids))
    while done < len(ids):
        end = min(done + CONTEXT - OVERLAP, len(ids))
        found.append((done - OVERLAP, end, done))
        done = end
    return found


def main():
    tokenizer = AutoTokenizer.from_pretrained(GGUF.parent, gguf_file=GGUF.name)
    model = AutoModelForCausalLM.from_pretrained(GGUF.parent, gguf_file=GGUF.name, dtype=torch.float32)
    made = []
    for text in DOCUMENTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        nll = 0.0
        for start, end, counted in windows(ids):
            part = torch.tensor([ids[start:end]])
            with torch.no_grad():
                logprobs = model(input_ids=part).logits[0].log_softmax(-1)
            nll -= sum(logprobs[i - start - 1, ids[i]].item() for i in range(counted, end))
        made.append({"text": text, "tokens": len(ids), "nll": nll})
    json.dump({"context": CONTEXT, "overlap": OVERLAP, "documents": made}, sys.stdout, indent=1)
    print()


main()
