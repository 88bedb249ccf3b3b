# pins: sacrebleu==2.6.0 rouge-score==0.1.2 jiwer==4.0.0 scikit-learn==1.9.1 numpy==2.4.6
"""Makes the reference values in goldens/: metrics of texts and of categories."""

import json
import math
import pathlib
import random
import warnings

import jiwer
import numpy as np
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from sklearn import metrics

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent / "goldens"

PAIRS = [
    ("The cat sat on the mat.", "The cat sat on the mat."),
    ("the the the the the the the", "the cat is on the mat"),
    ("", "Nothing was generated here."),
    ("Something was.", ""),
    ("", ""),
    ("   \n ", "white space only"),
    ("It costs $1,000.50 (about 3-4 weeks' pay)...", "It cost $1,000.5, i.e. 3-4 weeks' pay."),
    ("Die Größe der Straße überrascht Jürgen.", "Die Größe der Strasse überraschte Jürgen."),
    ("猫が好きです。", "犬が好きです。"),
    ("我喜欢 猫 和 狗 123", "我喜欢 狗 和 猫 123"),
    ("naïve café 🙂 emoji 👩‍👩‍👧 test", "naive café 🙂 emoji 👩‍👩‍👧 tests"),
    ("&quot;Quoted&quot; &amp; escaped &lt;tag&gt; <skipped>", '"Quoted" & escaped <tag>'),
    ("first line here\nsecond line there\nthird", "second line there\nfirst line was here\n\nlast"),
    ("a b c d e f g", "g f e d c b a"),
    ("a b c a b d a b e", "a b e a b c a b c d"),
    ("hyphen-\nated word", "hyphenated word"),
    ("UPPER lower MiXeD", "upper LOWER mixed"),
    ("tab\tand\u00a0nbsp  double", "tab and nbsp double"),
    ("running runs runner easily", "run ran runners easy"),
    ("word " * 90 + "end", "word " * 70 + "other " * 15 + "end"),
    ("yes", "no"),
    ("x", "x"),
    ("İstanbul ΣΑΣ", "istanbul σας"),
    ("1.5 2,5 .5 5. 1-2 a-b 3-a", "1.5 2, 5 .5 5 . 1 - 2 a-b 3 -a"),
]


def random_pairs(count):
    rng = random.Random(20)
    vocabulary = "the a of cat dog runs, sat. on-off 12 3.4 mat! über 日本 \n".split(" ")
    pairs = []
    for _ in range(count):
        reference = [rng.choice(vocabulary) for _ in range(rng.randint(1, 40))]
        prediction = [rng.choice(vocabulary) if rng.random() < 0.3 else w for w in reference]
        prediction = prediction[rng.randint(0, 2) : len(prediction) - rng.randint(0, 2)]
        pairs.append((" ".join(prediction), " ".join(reference)))
    return pairs


def text():
    pairs = PAIRS + random_pairs(24)
    predictions = [p for p, _ in pairs]
    references = [r for _, r in pairs]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=False)
    words = jiwer.Compose([
        jiwer.SubstituteRegexes({r"\s": " "}),
        jiwer.RemoveMultipleSpaces(),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ])

    def wer(reference, prediction):
        return jiwer.wer(reference, prediction, reference_transform=words, hypothesis_transform=words)

    rows = []
    for prediction, reference in pairs:
        rouge = scorer.score(reference, prediction)
        rows.append({
            "prediction": prediction,
            "reference": reference,
            "bleu": sacrebleu.sentence_bleu(prediction, [reference]).score,
            "chrf": sacrebleu.sentence_chrf(prediction, [reference]).score,
            "rouge": [rouge[k].fmeasure for k in ("rouge1", "rouge2", "rougeL", "rougeLsum")],
            "wer": wer(reference, prediction),
            "cer": jiwer.cer(reference, prediction),
        })
    return {
        "rows": rows,
        "bleu": sacrebleu.corpus_bleu(predictions, [references]).score,
        "chrf": sacrebleu.corpus_chrf(predictions, [references]).score,
        "wer": wer(references, predictions),
        "cer": jiwer.cer(references, predictions),
    }


def category(name, labels, truth, predicted, probabilities=None, top_k=3):
    classes = list(range(len(labels)))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, predicted, labels=classes, zero_division=0
    )
    average = lambda metric, kind: metric(truth, predicted, average=kind, zero_division=0)
    majority = [int(np.argmax(np.bincount(truth, minlength=len(labels))))] * len(truth)
    case = {
        "name": name,
        "labels": labels,
        "truth": truth,
        "predicted": predicted,
        "accuracy": metrics.accuracy_score(truth, predicted),
        "accuracy_macro": average(metrics.recall_score, "macro"),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        "precision_macro": average(metrics.precision_score, "macro"),
        "precision_weighted": average(metrics.precision_score, "weighted"),
        "f1_macro": average(metrics.f1_score, "macro"),
        "f1_micro": average(metrics.f1_score, "micro"),
        "f1_weighted": average(metrics.f1_score, "weighted"),
        "kappa": metrics.cohen_kappa_score(truth, predicted),
        "confusion_matrix": metrics.confusion_matrix(truth, predicted, labels=classes).astype(int).tolist(),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "support": [int(n) for n in support],
        "baseline_accuracy": metrics.accuracy_score(truth, majority),
        "baseline_f1_macro": metrics.f1_score(truth, majority, average="macro", zero_division=0),
    }
    if probabilities is not None:
        p = np.asarray(probabilities, dtype=np.float32).astype(np.float64)
        one_hot = np.eye(len(labels))[truth]
        if len(labels) == 2:
            auc = metrics.roc_auc_score(truth, p[:, 1])
        else:
            present = [c for c in classes if 0 < one_hot[:, c].sum() < len(truth)]
            auc = np.mean([metrics.roc_auc_score(one_hot[:, c], p[:, c]) for c in present])
        # scikit-learn takes the last of equally probable labels, we take the first: none here.
        hits = metrics.top_k_accuracy_score(truth, p, k=top_k, labels=classes) if top_k < len(labels) and len(labels) > 2 else None
        confidence = p.max(axis=1)
        right = p.argmax(axis=1) == np.asarray(truth)
        bins = np.minimum((confidence * 10).astype(int), 9)
        ece = sum(
            abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
            for b in range(10) if (bins == b).any()
        )
        case |= {
            "probabilities": p.flatten().tolist(),
            "top_k": top_k,
            "roc_auc": auc,
            "hits_at_k": hits,
            "loss": metrics.log_loss(truth, p, labels=classes),
            "brier": metrics.brier_score_loss(truth, p, labels=classes, scale_by_half=False),
            "calibration_error": ece,
        }
    return case


def categories():
    rng = np.random.default_rng(3)

    def draw(rows, labels, skill):
        truth = rng.choice(labels, rows, p=np.arange(1, labels + 1) / np.arange(1, labels + 1).sum())
        logits = rng.normal(size=(rows, labels)) + skill * np.eye(labels)[truth]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return truth.tolist(), p.argmax(axis=1).tolist(), p.tolist()

    truth, predicted, p = draw(60, 2, 0.8)
    binary = category("binary", ["ham", "spam"], truth, predicted, p, 1)
    rounded = np.round(np.asarray(p), 1)
    ties = category("binary with equal scores", ["ham", "spam"], truth, predicted, rounded.tolist(), 1)
    truth, predicted, p = draw(50, 5, 1.5)
    several = category("five labels", list("abcde"), truth, predicted, p, 3)
    never = category("never predicted, never true, unused", ["a", "b", "c", "d"],
                     [0, 0, 1, 1, 0, 1], [0, 2, 2, 0, 0, 2])
    wrong = category("always wrong", ["a", "b"], [0, 0, 1], [1, 1, 0])
    return [binary, ties, several, never, wrong]


def write(name, value):
    text = json.dumps(value, ensure_ascii=False, indent=None, default=float)
    (HERE / name).write_text(text.replace('{"prediction"', '\n{"prediction"').replace('{"name"', '\n{"name"') + "\n")


HERE.mkdir(exist_ok=True)
write("text.json", text())
write("category.json", categories())
