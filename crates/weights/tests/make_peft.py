#!/usr/bin/env python3
# pins: {torch}
"""Makes tiny adapters under tests/weights/fixtures/peft/ with PEFT, as it saves them.

Each stands on one of the tiny checkpoints of fidelio-model. Every tensor is random, so that none
of them could be missed; expected.json has a digest of each, and what the adapter was asked to be.
"""
import hashlib
import json
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "weights" / "fixtures") / "peft"
MODELS = HERE.parents[1] / "model" / "tests" / "golden"
QV = ["q_proj", "v_proj"]

ADAPTERS = {
    "plain": ("llama", dict(r=4, lora_alpha=8, target_modules=QV)),
    "rslora": ("llama", dict(r=4, lora_alpha=6, target_modules=QV, use_rslora=True, lora_dropout=0.1)),
    "dora": ("llama", dict(r=2, lora_alpha=4, target_modules=QV, use_dora=True)),
    "patterns": (
        "llama",
        dict(
            r=4,
            lora_alpha=8,
            target_modules=r".*\.(q_proj|v_proj|down_proj)",
            rank_pattern={r"layers\.1\..*\.q_proj": 2, "down_proj": 1},
            alpha_pattern={"v_proj": 3.5},
        ),
    ),
    "all-linear": ("llama", dict(r=2, lora_alpha=4, target_modules="all-linear", init_lora_weights="gaussian")),
    "orthogonal": ("llama", dict(r=2, lora_alpha=4, target_modules=QV, init_lora_weights="orthogonal")),
    "bias-lora-only": ("llama-bias-llama3", dict(r=2, lora_alpha=4, target_modules=QV, bias="lora_only")),
    "bias-all": ("llama-bias-llama3", dict(r=2, lora_alpha=4, target_modules=QV, bias="all")),
}


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    expected = {}
    for seed, (name, (base, asked)) in enumerate(ADAPTERS.items()):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained(MODELS / base)
        # PEFT keeps the path in its file; the model's name is the same on every machine.
        model.config._name_or_path = model.name_or_path = f"tiny/{base}"
        peft = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **asked))
        for parameter_name, parameter in peft.named_parameters():
            if parameter.requires_grad:
                parameter.data.normal_()
        peft.save_pretrained(OUT / name)
        (OUT / name / "README.md").unlink()
        tidy(OUT / name / "adapter_config.json")
        tensors = load_file(OUT / name / "adapter_model.safetensors")
        digest = lambda t: hashlib.sha256(t.contiguous().numpy().tobytes()).hexdigest()[:16]
        expected[name] = {
            "base": f"tiny/{base}",
            "asked": asked,
            "tensors": {key: [list(t.shape), digest(t)] for key, t in sorted(tensors.items())},
        }
    (OUT / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def tidy(path):
    """Lists of names come out of sets, whose order changes from run to run."""
    config = json.loads(path.read_text())
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True))


if __name__ == "__main__":
    main()
