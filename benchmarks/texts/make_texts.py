#!/usr/bin/env python3
"""Makes texts of exactly so many tokens, with their ids, for every side of a measurement to read.

The text is what people wrote: the sentences of `datasets/sentiment.csv.gz`, one after the other.
A piece is kept only if its ids are what its text becomes when it is encoded alone.
"""
# pins: gguf==0.19.0 tokenizers==0.23.3 numpy==2.4.6
# fetch: models
# args: {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf
# stdout: texts.json
import csv
import gzip
import json
import pathlib
import sys

from gguf import GGUFReader
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

# What, how many pieces, of how many tokens. The ids of a document do not count its end token.
WANTED = [("start", 1, 16), ("decode", 1, 64), ("prefill", 1, 512), ("batch", 32, 64), ("train", 40, 255)]


def tokenizer(path):
    fields = GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    made = Tokenizer(models.BPE({token: id for id, token in enumerate(tokens)}, merges))
    # What llama.cpp calls `smollm`: each digit alone, then words and bytes as in GPT-2.
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    return made


def sentences():
    table = pathlib.Path(__file__).parents[2] / "datasets" / "sentiment.csv.gz"
    with gzip.open(table, "rt", newline="", encoding="utf-8") as file:
        return [" ".join(row["text"].split()) for row in csv.DictReader(file)]


def pieces(encoding, count, length, rest):
    """Takes sentences off `rest` until `count` pieces of `length` tokens are made."""
    made = []
    while len(made) < count:
        text = ""
        while len(encoding.encode(text).ids) < length:
            text = f"{text} {rest.pop(0)}".strip()
        ids = encoding.encode(text).ids[:length]
        text = encoding.decode(ids, skip_special_tokens=False)
        # A cut within a character or between what would merge is no piece: the next sentences.
        if encoding.encode(text).ids == ids:
            made.append({"text": text, "ids": ids})
    return made


encoding, rest = tokenizer(sys.argv[1]), sentences()
texts = {name: pieces(encoding, count, length, rest) for name, count, length in WANTED}
lines = [
    f'"{name}": [\n' + ",\n".join(json.dumps(piece, ensure_ascii=False) for piece in made) + "\n]"
    for name, made in texts.items()
]
print("{\n" + ",\n".join(lines) + "\n}")
