#!/usr/bin/env python3
# pins: {torch}
# fetch: embedders
# args: {cache}/models/all-MiniLM-L6-v2
# stdout: facade/fixtures/minilm.json
"""Vectors of the default embedder as sentence-transformers computes them, for given texts.

Each text with its token ids (`truncated` where sentence-transformers cut it at 256), its normalised
mean vector, and the same vector without normalisation as its length.
"""
import json
import sys

import numpy
from sentence_transformers import SentenceTransformer

TEXTS = [
    "A man is eating food.",
    "A man eats a piece of bread.",
    "The girl is carrying a baby.",
    "",
    " ",
    "a",
    "?!",
    "Isn't it GREAT?",
    "The café's naïve façade: an élan vital.",
    "Straße, Übung, Öl.",
    "Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.",
    "Съешь же ещё этих мягких французских булок.",
    "我能吞下玻璃而不伤身体。",
    "私はガラスを食べられます。それは私を傷つけません。",
    "나는 유리를 먹을 수 있어요.",
    "أنا قادر على أكل الزجاج و هذا لا يؤلمني.",
    "🙂 👩\u200d🚀 🇪🇺",
    "line one\nline two\n\n\tline three",
    "[CLS] a text that spells [SEP] special [MASK] tokens [PAD]",
    "antidisestablishmentarianism " + "x" * 120,
    "The retriever finds passages that answer a question even where they share no word with it. " * 8,
    "One sentence follows another, and none of them says anything new about the matter. " * 40,
]


def main():
    model = SentenceTransformer(sys.argv[1], device="cpu")
    cases = []
    for text in TEXTS:
        ids = model.tokenizer(text, truncation=True, max_length=model.max_seq_length)["input_ids"]
        whole = model.tokenizer(text, truncation=False, padding=False)["input_ids"]
        vector = model.encode([text], normalize_embeddings=False, convert_to_numpy=True)[0]
        states = model[0](model.preprocess([text]))
        pooled = model[1](states)["sentence_embedding"][0].detach().numpy()
        cases.append(
            dict(
                text=text,
                ids=ids,
                truncated=len(whole) > len(ids),
                length=round(float(numpy.linalg.norm(pooled)), 5),
                vector=[round(float(x), 6) for x in vector],
            )
        )
    json.dump(cases, sys.stdout, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
