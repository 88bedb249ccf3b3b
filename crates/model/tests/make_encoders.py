#!/usr/bin/env python3
# pins: {torch}
"""Makes reference vectors of texts with transformers, and the tiny encoder tests/golden/bert.

Of the encoder, config.json and model.safetensors as transformers saves them (random, seeded), and
cases.json: texts as token ids, each with its `mean`, `cls` and `last` vector, which are made of the
last hidden states. All are computed in one batch that is padded to the longest, in 64 bits.
embeddings-llama.json is the same for the decoder tests/golden/llama, text by text, in 32 bits.
"""
import json
import pathlib
import shutil
import sys

import torch
from transformers import AutoModel, BertConfig, BertModel

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "golden")
LENGTHS = (1, 2, 5, 5, 24, 33, 64)


def main():
    config = BertConfig(
        vocab_size=96,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
    )
    config._attn_implementation = "eager"
    torch.manual_seed(7)
    model = BertModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger than the usual initialisation, so that mistakes show in the vectors.
            parameter.mul_(6.0) if parameter.dim() == 2 else parameter.add_(0.3 * torch.randn_like(parameter))
    folder = OUT / "bert"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)

    texts = [torch.randint(1, config.vocab_size, (length,)) for length in LENGTHS]
    ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(text) for text in texts], batch_first=True)
    with torch.no_grad():
        states = model.double()(input_ids=ids, attention_mask=mask).last_hidden_state
    cases = [case(text, row[: len(text)]) for text, row in zip(texts, states)]
    (folder / "cases.json").write_text(json.dumps(cases) + "\n")
    print("bert", sum(p.numel() for p in model.parameters()))

    decoder = AutoModel.from_pretrained(OUT / "llama", attn_implementation="eager").eval()
    with torch.no_grad():
        cases = [case(text, decoder(input_ids=text[None]).last_hidden_state[0]) for text in texts]
    (OUT / "embeddings-llama.json").write_text(json.dumps(cases) + "\n")


def case(text, states):
    rounded = lambda vector: [round(x, 7) for x in vector.tolist()]
    vectors = dict(mean=states.mean(0), cls=states[0], last=states[-1])
    return dict(ids=text.tolist()) | {name: rounded(vector) for name, vector in vectors.items()}


if __name__ == "__main__":
    main()
