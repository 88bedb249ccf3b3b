#!/usr/bin/env python3
# pins: {torch}
"""Makes the tiny reference checkpoints under tests/golden/ with transformers and PEFT.

Each folder: config.json and model.safetensors as transformers saves them (random, seeded), and
cases.json with token ids, the logits at some positions, and the mean loss of the sequence.

gradients.json describes one batch and its loss; full fine-tuning, so every parameter learns:
    rows      each with `ids` and `targets`; a target {at, token, weight, logprob} asks the token
              at position `at` of its row, which sees itself, for the next one. Rows 0 and 1 begin
              with the same 8 tokens and have no target among them; row 2 stands alone.
    loss      sum over all targets of -weight * logprob, in nats; nothing is averaged
    weight    sum of the weights
gradients.safetensors: the gradient of `loss` for every tensor of model.safetensors, by its name.

Some folders hold adapters, lora-*/: adapter_config.json and adapter_model.safetensors as PEFT
saves them (both factors random, so that neither's gradient is 0), and
    expected.json         `ids`, the row that `logits` belongs to; and, for the batch of
                          ../gradients.json with the adapter, `loss`, `weight` and `logprobs`: one
                          list per row, one number per target
    expected.safetensors  `logits` [tokens, vocabulary], and the gradient of `loss` for every
                          tensor of adapter_model.safetensors, by its name

Gradients and what comes with an adapter are computed in 64 bits and stored in 32; rotary angles
stay in 32 bits, as transformers computes them.
"""
import copy
import json
import pathlib
import shutil
import sys
import types

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

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
# Without a padding token, whose embedding PyTorch would not train.
SIZES["pad_token_id"] = None
# For models that need more layers to show what their layers differ in.
SMALL = SIZES | dict(hidden_size=16, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1)
# What the oldest families call the same.
GPT2_SIZES = dict(vocab_size=96, n_embd=24, n_layer=2, n_head=2, n_positions=64)
NEOX_SIZES = dict(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=64,
    pad_token_id=None,
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
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SIZES, tie_word_embeddings=True, rope_parameters=rope("default"))),
    "qwen2-window": (
        Qwen2ForCausalLM,
        Qwen2Config(
            **SIZES,
            use_sliding_window=True,
            sliding_window=7,
            max_window_layers=1,
            rope_parameters=rope("default"),
        ),
    ),
    "qwen3": (
        Qwen3ForCausalLM,
        Qwen3Config(**SIZES, head_dim=16, tie_word_embeddings=True, rope_parameters=rope("default")),
    ),
    "gemma2": (
        Gemma2ForCausalLM,
        Gemma2Config(
            **SIZES,
            head_dim=16,
            query_pre_attn_scalar=16,
            sliding_window=7,
            attn_logit_softcapping=5.0,
            final_logit_softcapping=8.0,
            rope_parameters=rope("default"),
        ),
    ),
    "gemma3": (
        Gemma3ForCausalLM,
        Gemma3TextConfig(
            **SMALL | dict(num_hidden_layers=7), head_dim=12, query_pre_attn_scalar=12, sliding_window=7
        ),
    ),
    "gemma3-variant": (
        Gemma3ForCausalLM,
        Gemma3TextConfig(
            **SMALL | dict(num_hidden_layers=3),
            head_dim=12,
            query_pre_attn_scalar=20,
            sliding_window=5,
            layer_types=["full_attention", "sliding_attention", "full_attention"],
            final_logit_softcapping=6.0,
            tie_word_embeddings=False,
            rope_parameters={
                "full_attention": rope("linear", factor=8.0) | {"rope_theta": 1000000.0},
                "sliding_attention": rope("default"),
            },
        ),
    ),
    "phi3": (
        Phi3ForCausalLM,
        Phi3Config(
            **SIZES,
            sliding_window=7,
            rope_parameters=rope("default", partial_rotary_factor=0.5),
        ),
    ),
    "phi3-longrope": (
        Phi3ForCausalLM,
        Phi3Config(
            **SMALL | dict(max_position_embeddings=256),
            original_max_position_embeddings=64,
            rope_parameters=rope(
                "longrope", short_factor=[1.0, 1.5, 2.0, 4.0], long_factor=[2.0, 3.0, 4.0, 8.0]
            ),
        ),
    ),
    "qwen3-yarn": (
        Qwen3ForCausalLM,
        Qwen3Config(
            **SMALL,
            head_dim=16,
            rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=16),
        ),
    ),
    "smollm3": (
        SmolLM3ForCausalLM,
        SmolLM3Config(**SMALL | dict(num_hidden_layers=5), rope_parameters=rope("default")),
    ),
    "olmo2": (Olmo2ForCausalLM, Olmo2Config(**SIZES, rope_parameters=rope("default"))),
    "gpt2": (GPT2LMHeadModel, GPT2Config(**GPT2_SIZES)),
    "gpt2-variant": (
        GPT2LMHeadModel,
        GPT2Config(
            **GPT2_SIZES,
            n_inner=40,
            activation_function="gelu",
            scale_attn_by_inverse_layer_idx=True,
            tie_word_embeddings=False,
        ),
    ),
    "gpt-neox": (
        GPTNeoXForCausalLM,
        GPTNeoXConfig(**NEOX_SIZES, rope_parameters=rope("default", partial_rotary_factor=0.25)),
    ),
    "gpt-neox-serial": (
        GPTNeoXForCausalLM,
        GPTNeoXConfig(
            **NEOX_SIZES,
            use_parallel_residual=False,
            attention_bias=False,
            hidden_act="gelu_new",
            layer_norm_eps=1e-3,
            rope_parameters=rope("default", partial_rotary_factor=0.5) | {"rope_theta": 500.0},
        ),
    ),
}

ADAPTERS = {
    "lora-plain": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "lora-rslora": dict(r=2, lora_alpha=3, use_rslora=True, target_modules="all-linear"),
    "lora-dora": dict(r=2, lora_alpha=4, use_dora=True, target_modules=["q_proj", "down_proj"]),
    "lora-patterns": dict(
        r=2,
        lora_alpha=4,
        target_modules=["q_proj", "o_proj", "gate_proj"],
        rank_pattern={"q_proj": 3, "layers.1.self_attn.o_proj": 1},
        alpha_pattern={"gate_proj": 16, "^model.layers.0.self_attn.o_proj": 6},
    ),
    "lora-replicated": dict(
        r=2,
        lora_alpha=4,
        target_modules=["q_proj", "up_proj"],
        layer_replication=[(0, 2), (1, 2), (0, 1)],
    ),
}
WITH_ADAPTERS = {
    "llama": ADAPTERS,
    "llama-bias-llama3": ADAPTERS,
    "gemma2": {"lora-rslora": ADAPTERS["lora-rslora"]},
    "phi3": {"lora-fused": dict(r=2, lora_alpha=4, use_dora=True, target_modules=["qkv_proj", "gate_up_proj"])},
    # Weights that stand the other way round, and heads whose three parts stand together.
    "gpt2": {
        "lora-plain": dict(r=4, lora_alpha=8, fan_in_fan_out=True, target_modules=["c_attn"]),
        "lora-dora": dict(r=2, lora_alpha=4, fan_in_fan_out=True, use_dora=True, target_modules=["c_attn", "c_proj"]),
    },
    "gpt-neox": {"lora-rslora": ADAPTERS["lora-rslora"]},
}


def training_batch(vocab_size):
    """Three rows; the targets are the tokens of the answers, which begin at `start`."""
    draw = torch.Generator().manual_seed(11)
    ids = lambda n: torch.randint(0, vocab_size, (n,), generator=draw).tolist()
    common = ids(8)
    rows = []
    for row, start, weight in ((common + ids(6), 10, 1.0), (common + ids(3), 9, 1.0), (ids(5), 2, 0.5)):
        targets = [dict(at=at, token=row[at + 1], weight=weight) for at in range(start - 1, len(row) - 1)]
        rows.append(dict(ids=row, targets=targets))
    return rows


def in_64_bits(model):
    """A copy that computes in 64 bits, also where transformers falls back to 32."""
    model = copy.deepcopy(model).double()
    softmax = torch.nn.functional.softmax
    torch.nn.functional.softmax = lambda x, dim, dtype=None: softmax(x, dim=dim)

    def norm(self, x):
        gemma = type(self).__name__.startswith("Gemma")
        eps = self.eps if gemma else self.variance_epsilon
        weight = 1.0 + self.weight if gemma else self.weight
        return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)

    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = types.MethodType(norm, module)
    return model


def logprobs(model, row):
    """Of the row's targets, one after the other."""
    logits = model(torch.tensor([row["ids"]])).logits[0]
    at = torch.tensor([target["at"] for target in row["targets"]])
    token = torch.tensor([target["token"] for target in row["targets"]])
    return logits.log_softmax(-1)[at, token]


def loss_of(model, rows):
    """The batch's loss, and the log-probabilities behind it; gradients lie in the parameters."""
    of_rows = [logprobs(model, row) for row in rows]
    loss = 0.0
    for row, found in zip(rows, of_rows):
        loss = loss - (torch.tensor([target["weight"] for target in row["targets"]]) * found).sum()
    assert loss.dtype == torch.float64
    loss.backward()
    weight = sum(target["weight"] for row in rows for target in row["targets"])
    return dict(loss=loss.item(), weight=weight), [found.tolist() for found in of_rows]


def save_tensors(tensors, path):
    save_file({name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}, path)


def write_gradients(model, folder, rows):
    model = in_64_bits(model)
    sums, of_rows = loss_of(model, rows)
    rows = copy.deepcopy(rows)
    for row, found in zip(rows, of_rows):
        for target, logprob in zip(row["targets"], found):
            target["logprob"] = logprob
    (folder / "gradients.json").write_text(json.dumps(dict(rows=rows, **sums)) + "\n")
    # Its files keep the name that this parameter once had.
    renamed = {"lm_head.weight": "embed_out.weight"} if model.config.model_type == "gpt_neox" else {}
    gradients = {renamed.get(name, name): p.grad for name, p in model.named_parameters()}
    save_tensors(gradients, folder / "gradients.safetensors")


def write_adapter(model, folder, rows, settings):
    adapted = get_peft_model(copy.deepcopy(model), LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings))
    draw = torch.Generator().manual_seed(13)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            if "lora_magnitude_vector" in name:
                parameter.mul_(1.0 + 0.2 * noise)
            elif "lora_" in name:
                parameter.copy_(0.3 * noise)
    save_adapter(adapted, folder)

    adapted = in_64_bits(adapted)
    sums, of_rows = loss_of(adapted, rows)
    gradients = {name: p.grad for name, p in adapted.named_parameters() if p.requires_grad}
    tensors = get_peft_model_state_dict(adapted, state_dict=gradients)
    ids = rows[2]["ids"]
    with torch.no_grad():
        tensors["logits"] = adapted(torch.tensor([ids])).logits[0]
    save_tensors(tensors, folder / "expected.safetensors")
    (folder / "expected.json").write_text(json.dumps(dict(ids=ids, **sums, logprobs=of_rows)) + "\n")


def save_adapter(adapted, folder):
    adapted.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    # PEFT writes its sets in an order that changes from run to run.
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


# What make_principal.py and make_ggufs.py put beside these.
OF_OTHERS = ["principal.json", "model.gguf"]


def clear(folder):
    """Removes what is there, except for what other scripts made."""
    for path in folder.iterdir() if folder.is_dir() else []:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in OF_OTHERS:
            path.unlink()


def main():
    only = sys.argv[2:]  # names of some models
    for name, (kind, config) in MODELS.items():
        if only and name not in only:
            continue
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
        clear(folder)
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
        rows = training_batch(config.vocab_size)
        write_gradients(model, folder, rows)
        for adapter, settings in WITH_ADAPTERS.get(name, {}).items():
            write_adapter(model, folder / adapter, rows, settings)
        print(name, sum(p.numel() for p in model.parameters()))


if __name__ == "__main__":
    main()
