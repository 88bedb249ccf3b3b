#!/usr/bin/env python3
# pins: {torch}
# rounding: 1e-3
"""Makes golden/llama/principal.json: what PEFT learns from adapters that begin with factors of the
weights (PiSSA, OLoRA).

    cases   each with `spec`, PEFT's settings; `energy`, by layer, the squared Frobenius norm of
            what the adapter takes out of the weight; `losses` of the batch of gradients.json before
            each update of plain gradient descent at the rate `lr`; and `logits` of the last token
            of `ids` after them

Factors are known up to signs only, so what is compared is what they do. Starts are computed in 32
bits, as PEFT demands, learning in 64; so processors differ by what eight updates make of the
rounding of a singular value decomposition.
"""
import json
import pathlib

import torch
from make_goldens import in_64_bits, logprobs
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

FOLDER = pathlib.Path(__file__).parent / "golden" / "llama"
LR, UPDATES = 2e-3, 8
CASES = [
    dict(init_lora_weights="pissa", r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"]),
    dict(init_lora_weights="pissa", r=4, lora_alpha=8, use_rslora=True, target_modules="all-linear"),
    dict(init_lora_weights="olora", r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"]),
    dict(
        init_lora_weights="olora", r=2, lora_alpha=3, target_modules="all-linear",
        rank_pattern={"o_proj": 5}, alpha_pattern={"gate_proj": 7},
    ),
]


def run(settings, rows, ids):
    model = LlamaForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings))
    energy = {}
    for name, module in adapted.named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            energy[name.removeprefix("base_model.model.")] = module.get_delta_weight("default").square().sum().item()
    adapted = in_64_bits(adapted)
    parameters = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=LR)
    losses = []
    for _ in range(UPDATES):
        loss = 0.0
        for row in rows:
            weights = torch.tensor([target["weight"] for target in row["targets"]])
            loss = loss - (weights * logprobs(adapted, row)).sum()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        logits = adapted(torch.tensor([ids])).logits[0, -1].tolist()
    return dict(spec=settings, energy=energy, losses=losses, logits=logits)


def main():
    rows = json.loads((FOLDER / "gradients.json").read_text())["rows"]
    ids = rows[0]["ids"]
    cases = [run(settings, rows, ids) for settings in CASES]
    text = json.dumps(dict(lr=LR, ids=ids, cases=cases))
    (FOLDER / "principal.json").write_text(text + "\n")
    for case in cases:
        print(case["spec"]["init_lora_weights"], [round(loss, 3) for loss in case["losses"]])


main()
