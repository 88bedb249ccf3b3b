# pins: statsmodels==0.15.0 scipy==1.17.1 numpy==2.4.6 pandas==3.1.1
"""Makes goldens/comparisons.json: McNemar's exact test and paired bootstrap intervals."""

import json
import pathlib
import random

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

HERE = pathlib.Path(__file__).parent / "goldens"


def case(name, rows, first, second, labels=3):
    """Rows of a number of labels; each classifier is right with a probability."""
    rng = random.Random(name)
    truth = [rng.randrange(labels) for _ in range(rows)]

    def answers(right):
        return [t if rng.random() < right else rng.randrange(labels) for t in truth]

    a, b = answers(first), answers(second)
    hits = np.array([[x == t, y == t] for x, y, t in zip(a, b, truth)], dtype=int)
    table = [[int(((hits[:, 0] == i) & (hits[:, 1] == j)).sum()) for j in (1, 0)] for i in (1, 0)]
    found = mcnemar(table, exact=True)
    # The paired bootstrap: both answers of a row are drawn together.
    interval = stats.bootstrap(
        (hits[:, 1] - hits[:, 0],),
        np.mean,
        n_resamples=20000,
        method="percentile",
        rng=np.random.default_rng(7),
    ).confidence_interval
    return {
        "name": name,
        "labels": labels,
        "truth": truth,
        "first": a,
        "second": b,
        "higher": table[1][0],
        "lower": table[0][1],
        "p_value": float(found.pvalue),
        "difference": float(hits[:, 1].mean() - hits[:, 0].mean()),
        "interval": [float(interval.low), float(interval.high)],
    }


cases = [
    case("alike", 200, 0.7, 0.7),
    case("a little better", 300, 0.70, 0.76),
    case("far better", 150, 0.4, 0.8),
    case("worse", 120, 0.9, 0.6, labels=2),
    case("few rows", 12, 0.5, 0.9),
]
(HERE / "comparisons.json").write_text(json.dumps(cases) + "\n")
