# pins: scikit-learn==1.9.1 numpy==2.4.6
"""Makes goldens/heads.json: heads of scikit-learn's LogisticRegression and Ridge."""

import json
import pathlib

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

HERE = pathlib.Path(__file__).parent / "goldens"


def vectors(seed, rows, width, shift):
    """Vectors in single precision, columns of different spread around a mean that may be far off."""
    rng = np.random.default_rng(seed)
    spread = 10.0 ** rng.uniform(-1, 1, width)
    x = rng.normal(size=(rows, width)) * spread + shift * spread
    return rng, x.astype(np.float32)


def unscaled(scaler, coef, intercept):
    """The same head on vectors as they were given."""
    if scaler is None:
        return coef, intercept
    coef = coef / scaler.scale_
    return coef, intercept - coef @ scaler.mean_


def case(name, kind, rows=80, width=6, shift=0.0, regularization=1e-2, labels=2, standardize=False, weights=None):
    rng, x = vectors(sum(map(ord, name)), rows, width, shift)
    truth = rng.normal(size=(labels, width)) / x.std(0)
    outputs = (x - x.mean(0)) @ truth.T + rng.normal(size=(rows, labels))
    new = vectors(1, 5, width, shift)[1]
    scaler = StandardScaler().fit(x.astype(np.float64)) if standardize else None
    scaled = (lambda v: scaler.transform(v)) if standardize else (lambda v: v)
    fitted, asked = scaled(x.astype(np.float64)), scaled(new.astype(np.float64))
    if kind == "numbers":
        targets = 3.0 * outputs[:, 0] + 100.0
        model = Ridge(alpha=rows * regularization, solver="cholesky").fit(fitted, targets)
        coef, intercept = model.coef_[None, :], np.array([model.intercept_])
        answers = model.predict(asked)
    else:
        targets = outputs.argmax(1)
        each = np.ones(rows) if weights is None else np.array(weights)[targets]
        model = LogisticRegression(
            C=1.0 / (2.0 * each.sum() * regularization),
            solver="newton-cholesky",
            tol=1e-13,
            max_iter=100_000,
        ).fit(fitted, targets, sample_weight=each)
        coef, intercept = model.coef_, model.intercept_
        answers = model.predict_proba(asked)
    coef, intercept = unscaled(scaler, coef, intercept)
    return {
        "name": name,
        "kind": kind,
        "regularization": regularization,
        "standardize": standardize,
        "label_weights": weights,
        "vectors": x.tolist(),
        "targets": targets.tolist(),
        "weights": coef.tolist(),
        "biases": intercept.tolist(),
        "asked": new.tolist(),
        "answers": answers.tolist(),
    }


CASES = [
    case("two labels", "labels"),
    case("two labels that hardly shrink", "labels", regularization=1e-5),
    case("two labels far from zero", "labels", shift=30.0),
    case("two labels of one spread", "labels", standardize=True),
    case("two labels that count differently", "labels", weights=[1.0, 4.0]),
    case("four labels", "labels", labels=4, rows=120),
    case("four labels that count differently", "labels", labels=4, rows=120, weights=[1.0, 0.5, 2.0, 3.0]),
    case("four labels, more numbers than rows", "labels", labels=4, rows=30, width=50),
    case("numbers", "numbers"),
    case("numbers far from zero", "numbers", shift=30.0),
    case("numbers of one spread", "numbers", standardize=True),
    case("numbers, more columns than rows", "numbers", rows=20, width=40),
]

HERE.mkdir(exist_ok=True)
(HERE / "heads.json").write_text(json.dumps(CASES, indent=None) + "\n")
