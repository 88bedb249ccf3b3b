# pins: bm25s==0.3.16 scikit-learn==1.9.1 numpy==2.4.6
"""Makes goldens.json: BM25 scores (Lucene's), likenesses of texts, and diverse choices."""

import json
import pathlib
import random
import re

import bm25s
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

HERE = pathlib.Path(__file__).parent
WORDS = """film food staff phone battery price story acting room service good bad great awful slow
fast cheap dear lovely broken long short the the the the a a a and and was was not very""".split()


def texts(seed, count):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randrange(1, 15))) for _ in range(count)]


def tokens(text):
    return re.findall(r"[a-z]+", text.lower())


def diverse(scores, likeness, diversity, k):
    """Maximal marginal relevance (Carbonell and Goldstein 1998) over all candidates."""
    relevance, chosen = scores / scores.max(), []
    while len(chosen) < k:
        nearest = likeness[:, chosen].max(axis=1) if chosen else np.zeros(len(scores))
        worth = (1 - diversity) * relevance - diversity * nearest
        worth[chosen] = -np.inf
        worth[scores <= 0] = -np.inf  # what has no word in common is not looked at
        chosen.append(int(worth.argmax()))
    return chosen


candidates, queries = texts(1, 40), texts(2, 12) + ["nothing of this occurs"]
retriever = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
retriever.index([tokens(text) for text in candidates], show_progress=False)
known = {word for text in candidates for word in tokens(text)}
scores = []
for query in queries:
    asked = [word for word in tokens(query) if word in known]
    found = retriever.get_scores(asked) if asked else np.zeros(len(candidates))
    scores.append(np.asarray(found, dtype=np.float64))
vectorizer = TfidfVectorizer(token_pattern=r"[a-z]+")
likeness = cosine_similarity(vectorizer.fit_transform(candidates))

(HERE / "goldens.json").write_text(
    json.dumps(
        {
            "candidates": candidates,
            "queries": queries,
            "scores": [[round(float(x), 7) for x in row] for row in scores],
            "likeness": [[round(float(x), 7) for x in row] for row in likeness],
            "diverse": [
                {"query": q, "diversity": d, "k": 5, "chosen": diverse(scores[q], likeness, d, 5)}
                for q in range(6)
                for d in (0.3, 0.5, 0.8)
            ],
        },
        indent=None,
        separators=(",", ":"),
    )
    + "\n"
)
