#!/usr/bin/env python3
# pins: torch==2.15.0 transformers==5.23.0 safetensors==0.8.0 numpy==2.4.6
"""Makes the tiny reference checkpoints under tests/golden/ with transformers.

Each folder: config.json and model.safetensors as transformers saves them (random, seeded), and
cases.json with token ids, the logits at some positions, and the mean loss of the sequence.
"""
import json
import pathlib
import shutil
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "golden")
SIZES = dict(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    rms_norm_eps=1e-5,
)


def rope(kind, **more):
    return {"rope_type": kind, "rope_theta": 10000.0, **more}


MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SIZES, rope_parameters=rope("default"), tie_word_embeddings=True)),
    "llama-bias-llama3": (
        LlamaForCausalLM,
        LlamaConfig(
            **SIZES,
            attention_bias=True,
            mlp_bias=True,
            head_dim=16,
            tie_word_embeddings=False,
            rope_parameters=rope(
                "llama3",
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=32,
            ),
        ),
    ),
    "llama-linear": (
        LlamaForCausalLM,
        LlamaConfig(**SIZES, tie_word_embeddings=False, rope_parameters=rope("linear", factor=4.0)),
    ),
    "mistral": (
        MistralForCausalLM,
        MistralConfig(**SIZES, sliding_window=7, tie_word_embeddings=False, rope_parameters=rope("default")),
    ),
}


def main():
    for name, (kind, config) in MODELS.items():
        torch.manual_seed(7)
        config._attn_implementation = "eager"
        model = kind(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                # Larger than the usual initialisation, so that mistakes show in the logits.
                parameter.mul_(4.0) if parameter.dim() == 2 else parameter.add_(
                    0.3 * torch.randn_like(parameter)
                )
        folder = OUT / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        cases = []
        for length in (1, 5, 24):
            ids = torch.randint(0, config.vocab_size, (1, length))
            with torch.no_grad():
                logits = model(ids).logits[0]
            case = {"ids": ids[0].tolist(), "logits": {}}
            for at in sorted({0, length // 2, length - 1}):
                case["logits"][str(at)] = [round(v, 6) for v in logits[at].tolist()]
            if length > 1:
                case["mean_nll"] = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:]).item()
            cases.append(case)
        (folder / "cases.json").write_text(json.dumps(cases) + "\n")
        print(name, sum(p.numel() for p in model.parameters()))


if __name__ == "__main__":
    main()
