//! The answers of two runs to the same rows.

use std::collections::BTreeMap;

use fidelio_eval::{
    Bootstrap, CategoryRows, CategoryStatistics, compare_categories, compare_texts,
};

use super::{AnswersCompared, FigureCompared};
use crate::{Answer, Answers, Error, Measured, RunRecord};

/// The label of an answer that no rule found one in.
const NO_LABEL: &str = "(no label)";

/// Two answers to each row, and the right one.
#[derive(Debug, PartialEq)]
pub(super) struct Pair {
    labels: bool,
    expected: Vec<String>,
    first: Vec<String>,
    second: Vec<String>,
}

/// Whether a run holds rows that were measured.
pub(super) fn is_measured(run: &RunRecord) -> bool {
    run.with_folds().any(|part| part.measured.iter().any(|it| it.report.is_some()))
}

/// Pairs the answers of two runs, or says why that cannot be.
pub(super) fn pair(runs: [&RunRecord; 2]) -> Result<Pair, String> {
    let [first, second] = runs.map(answers);
    let ([first, second], names) = ([first?, second?], runs.map(|run| run.name.as_str()));
    if first[0].labels != second[0].labels {
        return Err("one run answers with labels, the other with texts".into());
    }
    let labels = first[0].labels;
    let rows = [&first, &second].map(|it| it.iter().flat_map(|it| &it.rows).collect::<Vec<_>>());
    paired(labels, &rows, names)
}

/// A run's answers; of a cross-validation those of all folds.
fn answers(run: &RunRecord) -> Result<Vec<&Answers>, String> {
    let measured: Vec<&Measured> = run.with_folds().flat_map(|part| &part.measured).collect();
    let name = &run.name;
    if measured.is_empty() {
        return Err(format!("`{name}` was not measured; use `fidelio evaluate -m {name}`"));
    }
    let found: Vec<&Answers> = measured.iter().filter_map(|it| it.answers.as_ref()).collect();
    if found.len() < measured.len() {
        return Err(format!("`{name}` has no predictions file for all that it measured"));
    }
    if found.iter().any(|answers| answers.expected.is_none()) {
        return Err(format!(
            "the predictions of `{name}` do not hold what was expected: use `fidelio evaluate`"
        ));
    }
    Ok(found)
}

fn paired(labels: bool, rows: &[Vec<&Answer>; 2], names: [&str; 2]) -> Result<Pair, String> {
    let by_line = rows.iter().all(|rows| index(rows, |row| (row.line, 0)).len() == rows.len());
    // Lines are not unique where a run read several files; then the rows' order must be the same.
    let key = |row: &Answer| if by_line { (row.line, 0) } else { (row.line, row.row) };
    let [first, second] = rows.each_ref().map(|rows| index(rows, key));
    let [a, b] = names;
    if first.len() < rows[0].len() || second.len() < rows[1].len() {
        return Err("rows of a run stand twice in its predictions".into());
    }
    let common = first.keys().filter(|key| second.contains_key(key)).count();
    if common < first.len() || common < second.len() {
        return Err(format!(
            "`{a}` answered {} rows and `{b}` {}, of which {common} are the same; measure both with \
             the same data, `--split` and `random_seed`",
            first.len(),
            second.len()
        ));
    }
    let mut pair = Pair { labels, expected: vec![], first: vec![], second: vec![] };
    for (key, one) in &first {
        let other = second[key];
        let [expected, others] = [one, other].map(|it| it.expected.clone().unwrap_or_default());
        if expected != others {
            return Err(format!(
                "of line {} `{a}` expects `{}` and `{b}` `{}`, so their data is not the same",
                one.line,
                short(&expected),
                short(&others)
            ));
        }
        let said = |row: &Answer| row.answer.clone().unwrap_or_else(|| NO_LABEL.to_owned());
        pair.expected.push(expected);
        pair.first.push(said(one));
        pair.second.push(said(other));
    }
    Ok(pair)
}

fn index<'a>(
    rows: &[&'a Answer],
    key: impl Fn(&Answer) -> (usize, usize),
) -> BTreeMap<(usize, usize), &'a Answer> {
    rows.iter().map(|row| (key(row), *row)).collect()
}

fn short(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Compares what was paired.
pub(super) fn compare(pair: &Pair, bootstrap: &Bootstrap) -> Result<AnswersCompared, Error> {
    let figures =
        if pair.labels { of_labels(pair, bootstrap)? } else { of_texts(pair, bootstrap)? };
    Ok(AnswersCompared::new(pair.expected.len(), figures, bootstrap))
}

fn of_labels(pair: &Pair, bootstrap: &Bootstrap) -> Result<Vec<FigureCompared>, Error> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for label in [&pair.expected, &pair.first, &pair.second].into_iter().flatten() {
        let next = numbers.len();
        numbers.entry(label).or_insert(next);
    }
    let numbered = |labels: &[String]| -> Vec<usize> {
        labels.iter().map(|label| numbers[label.as_str()]).collect()
    };
    let (truth, first, second) =
        (numbered(&pair.expected), numbered(&pair.first), numbered(&pair.second));
    let compared = compare_categories(numbers.len(), &truth, &first, &second, bootstrap)?;
    let mut labels = vec![String::new(); numbers.len()];
    for (label, number) in &numbers {
        (*label).clone_into(&mut labels[*number]);
    }
    let f1 = |predicted: &[usize]| {
        let rows = CategoryRows::new(&labels, &truth, predicted);
        Ok::<_, Error>(CategoryStatistics::measure(&rows, &Bootstrap::none())?.f1_macro.value)
    };
    let f1_macro = FigureCompared {
        metric: "f1_macro".to_owned(),
        first: f1(&first)?,
        second: f1(&second)?,
        difference: compared.f1_macro,
        p_value: None,
        changed: None,
    };
    Ok(vec![FigureCompared::share("accuracy", &compared.accuracy), f1_macro])
}

fn of_texts(pair: &Pair, bootstrap: &Bootstrap) -> Result<Vec<FigureCompared>, Error> {
    let of = compare_texts(&pair.expected, &pair.first, &pair.second, bootstrap)?;
    // What judges best whether a text is as wanted stands first: most texts are never equal.
    Ok(vec![
        FigureCompared::plain("chrf", &of.chrf),
        FigureCompared::share("exact_match", &of.exact_match),
        FigureCompared::plain("rougeL", &of.rouge_l),
        FigureCompared::plain("bleu", &of.bleu),
        FigureCompared::plain("word_error_rate", &of.word_error_rate),
        FigureCompared::plain("char_error_rate", &of.char_error_rate),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(of: &[(usize, &str, &str)]) -> Vec<Answer> {
        let row = |(row, (line, answer, expected)): (usize, &(usize, &str, &str))| Answer {
            row,
            line: *line,
            answer: (!answer.is_empty()).then(|| (*answer).to_owned()),
            expected: Some((*expected).to_owned()),
            probability: None,
        };
        of.iter().enumerate().map(row).collect()
    }

    fn pair_of(first: &[Answer], second: &[Answer]) -> Result<Pair, String> {
        paired(true, &[first.iter().collect(), second.iter().collect()], ["a", "b"])
    }

    #[test]
    fn rows_meet_by_their_lines_whatever_their_order() {
        let first = rows(&[(2, "x", "x"), (3, "", "y")]);
        let second = rows(&[(3, "y", "y"), (2, "y", "x")]);
        let pair = pair_of(&first, &second).unwrap();
        assert_eq!(pair.expected, ["x", "y"]);
        assert_eq!((pair.first[1].as_str(), pair.second[1].as_str()), (NO_LABEL, "y"));
    }

    #[test]
    fn rows_of_several_files_meet_by_their_order_too() {
        let first = rows(&[(2, "x", "x"), (2, "y", "y")]);
        let pair = pair_of(&first, &first).unwrap();
        assert_eq!(pair.expected, ["x", "y"]);
    }

    #[test]
    fn other_rows_are_refused_with_what_is_different() {
        let first = rows(&[(2, "x", "x"), (3, "x", "y")]);
        let fewer = pair_of(&first, &first[..1]).unwrap_err();
        assert!(fewer.contains("answered 2 rows and `b` 1, of which 1 are the same"), "{fewer}");
        let others = pair_of(&first, &rows(&[(2, "x", "x"), (4, "x", "y")])).unwrap_err();
        assert!(others.contains("of which 1 are the same"), "{others}");
        let changed = pair_of(&first, &rows(&[(2, "x", "x"), (3, "x", "z")])).unwrap_err();
        assert!(changed.contains("of line 3 `a` expects `y` and `b` `z`"), "{changed}");
    }

    #[test]
    fn a_difference_needs_the_interval_and_the_test() {
        let answers = |right: usize| -> Vec<(usize, &str, &str)> {
            (0..60).map(|i| (i + 2, if i < right { "x" } else { "y" }, "x")).collect()
        };
        let verdict = |first: usize, second: usize| {
            let pair = pair_of(&rows(&answers(first)), &rows(&answers(second))).unwrap();
            compare(&pair, &Bootstrap::default()).unwrap()
        };
        assert_eq!(verdict(20, 40).better, Some(super::super::Which::Second));
        assert_eq!(verdict(40, 20).better, Some(super::super::Which::First));
        // Four changed rows of 60: the interval lies above 0, the test says 0.125.
        let few = verdict(30, 34);
        assert!(few.figures[0].difference.low > 0.0, "{few:?}");
        assert_eq!((few.better, few.figures[0].p_value), (None, Some(0.125)));
    }
}
