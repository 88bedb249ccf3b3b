#!/usr/bin/env python3
# pins: {torch}
"""Makes tiny adapters under tests/weights/fixtures/combined/ and what PEFT makes of several.

sources/ has adapters as PEFT saves them, every tensor random. <case>.safetensors has the tensors of
PEFT's add_weighted_adapter, <case>.json what it was asked. DARE drops at random: torch.bernoulli is
replaced by masks of the generator that Fidelio documents (SplitMix64 over a hash of seed, position
and tensor), written down here a second time.
"""
import json
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "weights" / "fixtures") / "combined"
MODEL = HERE.parents[1] / "model" / "tests" / "golden" / "llama"
PATTERNS = dict(
    target_modules=r".*\.(q_proj|down_proj)",
    rank_pattern={r"layers\.1\..*\.q_proj": 2, "down_proj": 1},
    alpha_pattern={"down_proj": 3.5},
)

SOURCES = {
    "first": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "second": dict(r=4, lora_alpha=6, target_modules=["q_proj", "down_proj"], use_rslora=True),
    "third": dict(r=4, lora_alpha=2, target_modules=["q_proj", "v_proj"], lora_dropout=0.1),
    "thin": dict(r=2, lora_alpha=4, target_modules=["q_proj"]),
    "patterns": dict(r=4, lora_alpha=8, **PATTERNS),
    "patterns-too": dict(r=4, lora_alpha=4, **PATTERNS),
}

CASES = {
    "linear": (["first", "second"], [1.0, 0.5], "linear", None, None),
    "linear-negative": (["first", "second", "third"], [0.7, -0.4, 1.5], "linear", None, None),
    "linear-rslora-first": (["second", "first"], [1.0, 1.0], "linear", None, None),
    "linear-patterns": (["patterns", "patterns-too"], [1.0, 0.5], "linear", None, None),
    "one": (["first"], [0.5], "ties", 0.5, None),
    "svd": (["first", "second", "thin"], [1.0, 0.5, -2.0], "svd", None, None),
    "ties": (["first", "second"], [1.0, 0.5], "ties", 0.4, None),
    "ties-negative": (["first", "second", "third"], [1.0, -0.5, 2.0], "ties", 0.7, None),
    "magnitude_prune": (["first", "second"], [1.0, 0.5], "magnitude_prune", 0.3, None),
    "dare_linear": (["first", "second"], [1.0, 0.5], "dare_linear", 0.6, 11),
    "dare_ties": (["first", "second", "third"], [1.0, 0.5, -1.0], "dare_ties", 0.5, 3),
}

WRAP = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15


def mixed(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WRAP
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WRAP
    return z ^ (z >> 31)


def mask(seed, position, tensor, shape, density):
    name = 0xCBF29CE484222325
    for byte in tensor.encode():
        name = ((name ^ byte) * 0x100000001B3) & WRAP
    key = mixed(mixed(name ^ mixed((position + STEP) & WRAP)) ^ mixed((seed + STEP) & WRAP))
    count = torch.Size(shape).numel()
    drawn = [(mixed((key + STEP * (i + 1)) & WRAP) >> 11) / (1 << 53) for i in range(count)]
    return torch.tensor([float(x < density) for x in drawn]).reshape(shape)


def base():
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    model.config._name_or_path = model.name_or_path = "tiny/llama"
    return model


def make_sources():
    for seed, (name, asked) in enumerate(SOURCES.items()):
        torch.manual_seed(100 + seed)
        peft = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", **asked))
        for _, parameter in peft.named_parameters():
            if parameter.requires_grad:
                parameter.data.normal_()
        peft.save_pretrained(OUT / "sources" / name)
        (OUT / "sources" / name / "README.md").unlink()
        path = OUT / "sources" / name / "adapter_config.json"
        config = json.loads(path.read_text())
        if isinstance(config["target_modules"], list):
            config["target_modules"].sort()
        path.write_text(json.dumps(config, indent=2, sort_keys=True))


def layers(peft):
    prefix = "base_model.model."
    for name, module in peft.named_modules():
        if isinstance(module, LoraLayer):
            yield name.removeprefix(prefix), module


def check_loaded(peft, name):
    """PEFT leaves a matrix at its start where a name in the file is not the one it looks for."""
    saved = load_file(OUT / "sources" / name / "adapter_model.safetensors")
    for layer, module in layers(peft):
        if name in module.lora_A:
            for which, matrix in (("A", module.lora_A), ("B", module.lora_B)):
                assert torch.equal(saved[f"base_model.model.{layer}.lora_{which}.weight"], matrix[name].weight)


def make_case(case, sources, weights, kind, density, seed):
    peft = PeftModel.from_pretrained(base(), OUT / "sources" / sources[0], adapter_name=sources[0])
    for name in sources[1:]:
        peft.load_adapter(OUT / "sources" / name, adapter_name=name)
    for name in sources:
        check_loaded(peft, name)
    # The order in which PEFT asks for masks: by layer, matrix, adapter.
    asked = [
        mask(seed, position, f"{layer}.lora_{which}.weight", matrix[name].weight.shape, density)
        for layer, module in layers(peft)
        for which, matrix in (("A", module.lora_A), ("B", module.lora_B))
        for position, name in enumerate(sources)
        if name in matrix and seed is not None
    ]
    bernoulli = torch.bernoulli

    def given(probabilities):
        next_mask = asked.pop(0)
        assert next_mask.shape == probabilities.shape and (probabilities == density).all()
        return next_mask

    torch.bernoulli = given
    peft.add_weighted_adapter(sources, weights, "merged", kind, density=density)
    torch.bernoulli = bernoulli
    assert not asked
    tensors, scaling = {}, {}
    for layer, module in layers(peft):
        if "merged" in module.lora_A:
            tensors[f"{layer}.lora_A.weight"] = module.lora_A["merged"].weight.detach().clone()
            tensors[f"{layer}.lora_B.weight"] = module.lora_B["merged"].weight.detach().clone()
            scaling[layer] = module.scaling["merged"]
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, OUT / f"{case}.safetensors")
    told = {
        "sources": sources,
        "weights": weights,
        "combination_type": kind,
        "density": density,
        "seed": seed,
        # PEFT leaves the first adapter's `use_rslora` on, and with it a scale that is not 1.
        "scaling_in_peft": scaling,
    }
    (OUT / f"{case}.json").write_text(json.dumps(told, indent=1) + "\n")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    make_sources()
    for case, asked in CASES.items():
        make_case(case, *asked)


if __name__ == "__main__":
    main()
