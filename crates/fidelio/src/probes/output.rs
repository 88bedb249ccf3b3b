//! What a head is to answer: the labels or numbers of rows.

use fidelio_config::{self as config, CategoryLoss, Kind, ProbeOutput};
use fidelio_data::{Row, Source, Vocabulary, text};
use serde_json::Value;

use super::ProbeFile;
use crate::Error;

/// Values that are true and values that are not, whatever their case.
const TRUE: [&str; 6] = ["true", "yes", "1", "t", "y", "1.0"];
const FALSE: [&str; 8] = ["false", "no", "0", "f", "n", "0.0", "-1", "-1.0"];

/// What the rows of a part say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expected {
    /// Numbers of labels.
    Labels(Vec<usize>),
    Numbers(Vec<f64>),
}

/// The labels of an output, in order; of two values the second is the true one. None for numbers.
pub(super) fn labels(run: &ProbeFile, training: &dyn Source) -> Result<Option<Vec<String>>, Error> {
    let vocabulary = |column: &str, given: Option<&[String]>| -> Result<Vec<String>, Error> {
        Ok(Vocabulary::of(training, column, given)?.labels().to_vec())
    };
    match run.config().output() {
        ProbeOutput::Number(_) => Ok(None),
        ProbeOutput::Category(output) => {
            let labels = vocabulary(&output.column, output.preprocessing.vocab.as_deref())?;
            weights_are_of(run, &output.loss, &labels)?;
            Ok(Some(labels))
        }
        ProbeOutput::Binary(output) => {
            let found = vocabulary(&output.column, None)?;
            let given = output.preprocessing.fallback_true_label.as_deref();
            Ok(Some(two_values(&output.column, found, given)?))
        }
    }
}

/// The false one, then the true one.
fn two_values(column: &str, found: Vec<String>, given: Option<&str>) -> Result<Vec<String>, Error> {
    let is = |value: &str, known: &[&str]| known.contains(&value.to_lowercase().as_str());
    let Ok([a, b]) = <[String; 2]>::try_from(found.clone()) else {
        return Err(Error::NotBinary { column: column.to_owned(), found });
    };
    match given {
        Some(given) if a == given => Ok(vec![b, a]),
        Some(given) if b == given => Ok(vec![a, b]),
        None if is(&a, &FALSE) && is(&b, &TRUE) => Ok(vec![a, b]),
        None if is(&b, &FALSE) && is(&a, &TRUE) => Ok(vec![b, a]),
        _ => Err(Error::WhichIsTrue { column: column.to_owned(), found: [a, b] }),
    }
}

fn weights_are_of(run: &ProbeFile, loss: &CategoryLoss, labels: &[String]) -> Result<(), Error> {
    let CategoryLoss::SoftmaxCrossEntropy { class_weights: Some(weights) } = loss else {
        return Ok(());
    };
    let Some(label) = weights.keys().find(|label| !labels.contains(label)) else { return Ok(()) };
    let document = run.document();
    let problem = document
        .problem(
            Kind::Contradiction,
            &format!("output_features.0.loss.class_weights.{label}"),
            format!("the label `{label}` has a weight, and no row"),
        )
        .hint(format!("the labels are `{}`", labels.join("`, `")));
    Err(Error::RunFile(document.problems(vec![problem])))
}

/// How much a row of each label counts; none where all count alike.
pub(super) fn label_weights(output: &ProbeOutput, labels: &[String]) -> Option<Vec<f64>> {
    match output {
        ProbeOutput::Category(config::LabelOutput {
            loss: CategoryLoss::SoftmaxCrossEntropy { class_weights: Some(weights) },
            ..
        }) => Some(labels.iter().map(|label| weights.get(label).copied().unwrap_or(1.0)).collect()),
        ProbeOutput::Binary(config::BinaryOutput {
            loss: config::BinaryLoss::BinaryWeightedCrossEntropy { positive_class_weight },
            ..
        }) => Some(vec![1.0, *positive_class_weight]),
        _ => None,
    }
}

/// What rows say, in their order; `labels` are all that they may say.
pub(super) fn expected(
    output: &ProbeOutput,
    labels: Option<&[String]>,
    source: &dyn Source,
    rows: &[Row],
) -> Result<Expected, Error> {
    let column = output.column();
    let Some(labels) = labels else {
        let number = |row: &Row| number(row, column);
        return rows.iter().map(number).collect::<Result<_, _>>().map(Expected::Numbers);
    };
    let vocabulary = Vocabulary::of(source, column, Some(labels))?;
    let label = |row: &Row| {
        let found = vocabulary.number_of(row)?;
        Ok(found.expect("rows without an answer were treated before"))
    };
    rows.iter().map(label).collect::<Result<_, Error>>().map(Expected::Labels)
}

fn number(row: &Row, column: &str) -> Result<f64, Error> {
    let cell = row.cell(column)?;
    let read = match cell {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    read.filter(|number: &f64| number.is_finite()).ok_or_else(|| Error::NotANumber {
        place: row.place.clone(),
        column: column.to_owned(),
        found: text(cell).unwrap_or_default().into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_values_the_true_one_is_the_second() {
        let two = |a: &str, b: &str, given| two_values("c", vec![a.into(), b.into()], given);
        assert_eq!(two("False", "True", None).unwrap(), ["False", "True"]);
        assert_eq!(two("1", "0", None).unwrap(), ["0", "1"]);
        assert_eq!(two("ham", "spam", Some("ham")).unwrap(), ["spam", "ham"]);
        let error = two("ham", "spam", None).unwrap_err();
        assert!(error.hint().unwrap().contains("fallback_true_label: spam"), "{error}");
        assert!(matches!(two("ham", "spam", Some("egg")), Err(Error::WhichIsTrue { .. })));
        let three = ["a", "b", "c"].map(String::from).to_vec();
        let error = two_values("c", three, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "column `c` of a binary output holds 3 values: `a`, `b`, `c`"
        );
    }
}
