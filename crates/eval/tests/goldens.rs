//! Every figure against the value that sacrebleu, rouge_score, jiwer or scikit-learn gives
//! (`make_goldens.py` made them), every comparison against statsmodels and scipy
//! (`make_comparisons.py`).

use fidelio_eval::{
    BleuStats, Bootstrap, CategoryRows, CategoryStatistics, ChrfStats, Edits, Rouge, TextRows,
    TextStatistics, compare_categories,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Texts {
    rows: Vec<Text>,
    bleu: f64,
    chrf: f64,
    wer: f64,
    cer: f64,
}

#[derive(Deserialize)]
struct Text {
    prediction: String,
    reference: String,
    bleu: f64,
    chrf: f64,
    rouge: [f64; 4],
    wer: f64,
    cer: f64,
}

#[derive(Deserialize)]
struct Category {
    name: String,
    labels: Vec<String>,
    truth: Vec<usize>,
    predicted: Vec<usize>,
    accuracy: f64,
    accuracy_macro: f64,
    balanced_accuracy: f64,
    precision_macro: f64,
    precision_weighted: f64,
    f1_macro: f64,
    f1_micro: f64,
    f1_weighted: f64,
    kappa: f64,
    confusion_matrix: Vec<Vec<u64>>,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    support: Vec<u64>,
    baseline_accuracy: f64,
    baseline_f1_macro: f64,
    #[serde(flatten)]
    probability: Option<Probability>,
}

#[derive(Deserialize)]
struct Probability {
    probabilities: Vec<f32>,
    top_k: usize,
    roc_auc: f64,
    hits_at_k: Option<f64>,
    loss: f64,
    brier: f64,
    calibration_error: f64,
}

#[track_caller]
fn same(what: &str, got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-9, "{what}: got {got}, expected {expected}");
}

fn texts() -> Texts {
    serde_json::from_str(include_str!("goldens/text.json")).expect("the fixture fits")
}

fn categories() -> Vec<Category> {
    serde_json::from_str(include_str!("goldens/category.json")).expect("the fixture fits")
}

#[test]
fn each_row_of_text_scores_as_in_the_references() {
    for row in texts().rows {
        let (p, r) = (row.prediction.as_str(), row.reference.as_str());
        same(&format!("BLEU of {p:?} {r:?}"), BleuStats::of(p, r).sentence().score, row.bleu);
        same(&format!("chrF of {p:?} {r:?}"), ChrfStats::of(p, r).score(), row.chrf);
        let rouge = Rouge::of(p, r);
        let rouge = [rouge.rouge1, rouge.rouge2, rouge.rouge_l, rouge.rouge_lsum];
        for (got, expected) in rouge.into_iter().zip(row.rouge) {
            same(&format!("ROUGE of {p:?} {r:?}"), got, expected);
        }
        same(&format!("WER of {p:?} {r:?}"), Edits::of_words(p, r).rate(), row.wer);
        same(&format!("CER of {p:?} {r:?}"), Edits::of_chars(p, r).rate(), row.cer);
    }
}

#[test]
fn a_table_of_text_scores_as_in_the_references() {
    let texts = texts();
    let (predictions, references): (Vec<_>, Vec<_>) =
        texts.rows.iter().map(|row| (row.prediction.clone(), row.reference.clone())).unzip();
    let rows = TextRows::new(&predictions, &references);
    let got = TextStatistics::measure(&rows, &Bootstrap::default()).unwrap();
    let mean = |i: usize| texts.rows.iter().map(|row| row.rouge[i]).sum::<f64>() / 48.0;
    for (name, estimate, expected) in [
        ("BLEU", got.bleu, texts.bleu),
        ("chrF", got.chrf, texts.chrf),
        ("WER", got.word_error_rate, texts.wer),
        ("CER", got.char_error_rate, texts.cer),
        ("ROUGE-1", got.rouge1, mean(0)),
        ("ROUGE-2", got.rouge2, mean(1)),
        ("ROUGE-L", got.rouge_l, mean(2)),
        ("ROUGE-Lsum", got.rouge_lsum, mean(3)),
    ] {
        same(name, estimate.value, expected);
        assert!(estimate.low < expected && expected < estimate.high, "{name}: {estimate:?}");
    }
}

#[test]
fn categories_score_as_in_scikit_learn() {
    for case in categories() {
        let name = &case.name;
        let rows = CategoryRows::new(&case.labels, &case.truth, &case.predicted);
        let got = CategoryStatistics::measure(&rows, &Bootstrap::default()).unwrap();
        for (what, got, expected) in [
            ("accuracy", got.accuracy.value, case.accuracy),
            ("accuracy_macro", got.accuracy_macro.value, case.accuracy_macro),
            ("balanced_accuracy", got.balanced_accuracy.value, case.balanced_accuracy),
            ("precision_macro", got.precision_macro, case.precision_macro),
            ("precision_weighted", got.precision_weighted, case.precision_weighted),
            ("f1_macro", got.f1_macro.value, case.f1_macro),
            ("f1_micro", got.f1_micro, case.f1_micro),
            ("f1_weighted", got.f1_weighted, case.f1_weighted),
            ("kappa", got.kappa.unwrap(), case.kappa),
            ("baseline accuracy", got.baseline.accuracy, case.baseline_accuracy),
            ("baseline F1", got.baseline.f1_macro, case.baseline_f1_macro),
        ] {
            same(&format!("{what} of {name}"), got, expected);
        }
        assert_eq!(got.confusion_matrix.as_ref(), Some(&case.confusion_matrix), "{name}");
        for (i, class) in got.per_class.values().enumerate() {
            same(&format!("precision {i} of {name}"), class.precision, case.precision[i]);
            same(&format!("recall {i} of {name}"), class.recall, case.recall[i]);
            same(&format!("f1 {i} of {name}"), class.f1, case.f1[i]);
            assert_eq!(class.support, case.support[i], "{name}");
            let all = class.true_positives
                + class.false_positives
                + class.false_negatives
                + class.true_negatives;
            assert_eq!(all, case.truth.len() as u64, "{name}");
        }
    }
}

#[test]
fn probabilities_score_as_in_scikit_learn() {
    let mut seen = 0;
    for case in categories() {
        let (name, Some(expected)) = (&case.name, &case.probability) else { continue };
        seen += 1;
        let rows = CategoryRows {
            probabilities: Some(&expected.probabilities),
            top_k: expected.top_k,
            ..CategoryRows::new(&case.labels, &case.truth, &case.predicted)
        };
        let got = CategoryStatistics::measure(&rows, &Bootstrap::none()).unwrap();
        let got = got.probability.unwrap();
        same(&format!("ROC-AUC of {name}"), got.roc_auc.unwrap(), expected.roc_auc);
        same(&format!("loss of {name}"), got.loss.value, expected.loss);
        same(&format!("Brier of {name}"), got.brier, expected.brier);
        same(&format!("calibration of {name}"), got.calibration_error, expected.calibration_error);
        if let Some(share) = expected.hits_at_k {
            same(&format!("hits of {name}"), got.hits_at_k.unwrap().share.value, share);
        }
    }
    assert_eq!(seen, 3);
}

#[derive(Deserialize)]
struct Compared {
    name: String,
    labels: usize,
    truth: Vec<usize>,
    first: Vec<usize>,
    second: Vec<usize>,
    higher: u64,
    lower: u64,
    p_value: f64,
    difference: f64,
    interval: [f64; 2],
}

#[test]
fn comparisons_are_those_of_statsmodels_and_scipy() {
    let cases: Vec<Compared> =
        serde_json::from_str(include_str!("goldens/comparisons.json")).expect("the fixture fits");
    assert_eq!(cases.len(), 5);
    for case in cases {
        let bootstrap = Bootstrap { resamples: 20_000, ..Bootstrap::default() };
        let got =
            compare_categories(case.labels, &case.truth, &case.first, &case.second, &bootstrap)
                .unwrap()
                .accuracy;
        assert_eq!((got.higher, got.lower), (case.higher, case.lower), "{}", case.name);
        same(&format!("McNemar of {}", case.name), got.p_value, case.p_value);
        same(&format!("difference of {}", case.name), got.difference.value, case.difference);
        // Two bootstraps agree as far as their draws do; the ends stand on whole rows.
        let row = 1.01 / case.truth.len() as f64;
        let ends = [got.difference.low, got.difference.high];
        for (end, expected) in ends.into_iter().zip(case.interval) {
            assert!((end - expected).abs() < row, "{}: {ends:?} {:?}", case.name, case.interval);
        }
    }
}
