#!/usr/bin/env python3
# pins: {torch}
"""Makes tests/golden/llama-quantized: a tiny checkpoint, and for each way of rounding its blocks'
linear layers a folder with what PEFT answers and learns beside the weights that bitsandbytes decodes.

The files are those that make_goldens.py describes; gradients.json holds the batch alone.
"""
import copy
import json
import shutil

import bitsandbytes.functional as bnb
import torch
from make_goldens import OUT, SIZES, rope, training_batch, write_adapter
from transformers import LlamaConfig, LlamaForCausalLM


def decoded(weight, kind):
    if kind == "int8":
        codes, scales, _ = bnb.int8_vectorwise_quant(weight)
        return bnb.int8_vectorwise_dequant(codes, scales)
    name, _, double = kind.partition("-")
    codes, state = bnb.quantize_4bit(weight, quant_type=name, compress_statistics=bool(double))
    if double:
        # bitsandbytes' library for the CPU misses the nearest value now and then (one scale in 400
        # here); its kernels for other devices do not, and neither do we.
        scales = bnb.quantize_4bit(weight, quant_type=name)[1].absmax - state.offset
        values = state.state2.code
        shares = scales / state.state2.absmax.repeat_interleave(256)[: len(scales)]
        nearest = torch.bucketize(shares, (values[:-1] + values[1:]) / 2).to(torch.uint8)
        assert (nearest != state.absmax).sum() <= 1
        state.absmax = nearest
    return bnb.dequantize_4bit(codes, state)


def main():
    sizes = dict(SIZES, hidden_size=64, num_hidden_layers=1)
    config = LlamaConfig(**sizes, rope_parameters=rope("default"), tie_word_embeddings=True)
    config._attn_implementation = "eager"
    torch.manual_seed(17)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0) if parameter.dim() == 2 else parameter.add_(0.3 * torch.randn_like(parameter))
    folder = OUT / "llama-quantized"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    rows = training_batch(config.vocab_size)
    (folder / "gradients.json").write_text(json.dumps(dict(rows=rows)) + "\n")
    for kind in ["nf4", "nf4-double", "fp4", "fp4-double", "int8"]:
        rounded = copy.deepcopy(model)
        with torch.no_grad():
            for module in rounded.model.layers.modules():
                if isinstance(module, torch.nn.Linear):
                    module.weight.copy_(decoded(module.weight.detach(), kind))
        write_adapter(rounded, folder / kind, rows, dict(r=2, lora_alpha=4, target_modules="all-linear"))


if __name__ == "__main__":
    main()
