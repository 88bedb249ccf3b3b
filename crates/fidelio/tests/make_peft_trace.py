#!/usr/bin/env python3
# pins: {torch}
# fetch: models
# args: {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf
"""Trains a LoRA adapter on SmolLM2 with PEFT in f32 and writes down every loss.

Writes into tests/facade/peft_trace/: the adapter it starts from (adapter_config.json,
adapter_model.safetensors) and trace.json: the rows (ids, how many of them are the prompt), the
settings, the mean loss of every update before it, and the mean loss of held-out rows at the end.
Rows come in the order written, two per update.
"""
import json
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

GGUF = pathlib.Path(sys.argv[1])
OUT = pathlib.Path(__file__).parent / "facade" / "peft_trace"
LEARNING_RATE, UPDATES, ROWS_PER_UPDATE = 1e-3, 50, 2

REVIEWS = [
    ("I love this phone.", "positive"), ("It broke after two days.", "negative"),
    ("Great food!", "positive"), ("A waste of time.", "negative"),
    ("The battery lasts all week.", "positive"), ("Rude staff and cold soup.", "negative"),
    ("Best purchase this year.", "positive"), ("I want my money back.", "negative"),
    ("Crisp picture, rich sound.", "positive"), ("The plot made no sense at all.", "negative"),
]
HELD_OUT = [
    ("What a lovely evening.", "positive"), ("Terrible, do not buy.", "negative"),
    ("It works as promised.", "positive"), ("The worst hotel we have seen.", "negative"),
]


def rows(tokenizer, pairs):
    made = []
    for text, label in pairs:
        prompt = tokenizer.encode(f"Review: {text}\nSentiment:")
        answer = tokenizer.encode(f" {label}") + [tokenizer.eos_token_id]
        made.append({"ids": prompt + answer, "prompt": len(prompt)})
    return made


def loss_of(model, some):
    """Sum over learnt tokens of minus their log-probability, and how many there are."""
    total, count = 0.0, 0
    for row in some:
        ids = torch.tensor([row["ids"]])
        logits = model(input_ids=ids).logits[0, :-1]
        learnt = slice(row["prompt"] - 1, None)
        loss = torch.nn.functional.cross_entropy(logits[learnt], ids[0, 1:][learnt], reduction="sum")
        total, count = total + loss, count + len(row["ids"]) - row["prompt"]
    return total, count


def main():
    torch.manual_seed(11)
    tokenizer = AutoTokenizer.from_pretrained(GGUF.parent, gguf_file=GGUF.name)
    base = AutoModelForCausalLM.from_pretrained(
        GGUF.parent, gguf_file=GGUF.name, dtype=torch.float32, attn_implementation="eager"
    )
    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=8, lora_dropout=0.0,
        target_modules=r"model\.layers\.(0|9|19|29)\.(self_attn\.(q|v)_proj|mlp\.down_proj)",
    )
    model = get_peft_model(base, config)
    model.save_pretrained(OUT)
    train, held_out = rows(tokenizer, REVIEWS), rows(tokenizer, HELD_OUT)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.01)
    losses = []
    for update in range(UPDATES):
        first = update * ROWS_PER_UPDATE
        some = [train[(first + i) % len(train)] for i in range(ROWS_PER_UPDATE)]
        total, count = loss_of(model, some)
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        optimizer.step()
        optimizer.zero_grad()
        losses.append((total / count).item())
    with torch.no_grad():
        total, count = loss_of(model, held_out)
    trace = {
        "learning_rate": LEARNING_RATE, "weight_decay": 0.01, "clip": 0.5,
        "rows_per_update": ROWS_PER_UPDATE, "rows": train, "held_out": held_out,
        "losses": losses, "held_out_loss": (total / count).item(),
    }
    (OUT / "trace.json").write_text(json.dumps(trace) + "\n")
    (OUT / "README.md").unlink(missing_ok=True)


main()
