#!/usr/bin/env python3
# pins: {torch}
"""Makes reference vectors of texts with transformers, and the tiny encoders of ENCODERS.

Of each encoder, config.json and model.safetensors as transformers saves them (random, seeded), and
cases.json: texts as token ids, each with its `mean`, `cls` and `last` vector, which are made of the
last hidden states. All are computed in one batch that is padded to the longest (ModernBERT's one by one), in 64 bits.
embeddings-llama.json is the same for the decoder tests/golden/llama, text by text, in 32 bits.
"""
import json
import pathlib
import shutil
import sys

import torch
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "golden")
LENGTHS = (1, 2, 5, 5, 24, 33, 64)


SIZES = dict(
    vocab_size=96,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=64,
)
SMALL = SIZES | dict(hidden_size=16, intermediate_size=32, num_attention_heads=2)
# Their first position comes after the padding token's.
SHIFTED = SMALL | dict(max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5)
ENCODERS = {
    "bert": (BertModel, BertConfig(**SIZES, type_vocab_size=2, layer_norm_eps=1e-12)),
    "roberta": (RobertaModel, RobertaConfig(**SHIFTED)),
    "xlm-roberta": (XLMRobertaModel, XLMRobertaConfig(**SHIFTED | dict(hidden_act="gelu_new"))),
    "distilbert": (
        DistilBertModel,
        DistilBertConfig(vocab_size=96, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=64),
    ),
    # The first layer sees whole texts, the next two eight tokens to each side.
    "modernbert": (
        ModernBertModel,
        ModernBertConfig(
            **SMALL | dict(num_hidden_layers=4),
            local_attention=16,
            global_attn_every_n_layers=3,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
            cls_token_id=None,
            sep_token_id=None,
        ),
    ),
}


def main():
    only = sys.argv[2:]  # names of some encoders
    for name, (kind, config) in ENCODERS.items():
        if not only or name in only:
            write(name, kind, config)
    if only:
        return
    decoder = AutoModel.from_pretrained(OUT / "llama", attn_implementation="eager").eval()
    with torch.no_grad():
        cases = [case(text, decoder(input_ids=text[None]).last_hidden_state[0]) for text in texts(96)]
    (OUT / "embeddings-llama.json").write_text(json.dumps(cases) + "\n")


def texts(vocab_size):
    draw = torch.Generator().manual_seed(17)
    return [torch.randint(2, vocab_size, (length,), generator=draw) for length in LENGTHS]


def write(name, kind, config):
    config._attn_implementation = "eager"
    torch.manual_seed(7)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger than the usual initialisation, so that mistakes show in the vectors.
            parameter.mul_(6.0) if parameter.dim() == 2 else parameter.add_(0.3 * torch.randn_like(parameter))
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)

    rows = texts(config.vocab_size)
    with torch.no_grad():
        states = list(states_of(name, model.double(), rows, config.pad_token_id))
    cases = [case(text, row[: len(text)]) for text, row in zip(rows, states)]
    (folder / "cases.json").write_text(json.dumps(cases) + "\n")
    print(name, sum(p.numel() for p in model.parameters()))


def states_of(name, model, rows, padding):
    """The last states of each row, with those of its padding."""
    if name == "modernbert":
        # A padding token beyond everybody's window sees nothing, and its NaN spreads.
        return [model(input_ids=row[None]).last_hidden_state[0] for row in rows]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return model(input_ids=ids, attention_mask=mask).last_hidden_state


def case(text, states):
    rounded = lambda vector: [round(x, 7) for x in vector.tolist()]
    vectors = dict(mean=states.mean(0), cls=states[0], last=states[-1])
    return dict(ids=text.tolist()) | {name: rounded(vector) for name, vector in vectors.items()}


if __name__ == "__main__":
    main()
