//! Whole runs on the real default model over small tables.

use std::path::Path;

use fidelio::{
    DataArgs, Event, Flow, Job, Model, Observer, Plan, Results, RunFile, Silent, SplitChoice,
    config::Override, data::Format, weights,
};

use crate::{default_model, machine};

const REVIEWS: &str = "text,label\n\
    \"I love this phone, it is wonderful.\",positive\n\
    \"The worst film I have ever seen.\",negative\n\
    \"Great food and friendly staff!\",positive\n\
    \"It broke after two days, very disappointing.\",negative\n";

const CLASSIFY: &str = "\
model_type: llm
base_model: MODEL
prompt: {task: 'Is the review positive or negative? Answer with one word.'}
input_features: [{name: text, type: text}]
output_features:
  - name: label
    type: category
    preprocessing: {vocab: [negative, positive]}
    decoder: {type: category_extractor, label_score: sum}
trainer: {type: none}
";

const ANSWER: &str = "\
model_type: llm
base_model: MODEL
prompt: {template: '{question}'}
input_features: [{name: question, type: text}]
output_features: [{name: answer, type: text}]
generation: {max_new_tokens: 16}
trainer: {type: none}
";

const QUESTIONS: &str = "question,answer\n\
    What is the capital of France?,The capital of France is Paris.\n\
    What is 12 plus 7? Answer with a number.,19\n";

struct Case {
    folder: tempfile::TempDir,
    run: RunFile,
    model: Model,
    data: DataArgs,
}

/// A table and a run file on the default model, unless it is not there.
fn case(test: &str, run: &str, table: &str, overrides: &[&str]) -> Option<Case> {
    let path = default_model(test)?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("table.csv");
    std::fs::write(&file, table).unwrap();
    let text = run.replace("MODEL", path.to_str().unwrap());
    let overrides: Vec<Override> = overrides.iter().map(|text| Override::new(*text)).collect();
    let run = RunFile::parse("run.yaml", &text, &overrides).unwrap_or_else(|error| match error {
        fidelio::Error::RunFile(problems) => panic!("{problems}"),
        other => panic!("{other}"),
    });
    let model = Model::find(&machine(), &run.config().base_model, &weights::Silent).unwrap();
    Some(Case { folder, run, model, data: DataArgs::of(file) })
}

#[test]
fn labels_scored_in_a_forest_have_the_probabilities_of_each_row_alone() {
    let test = "labels_scored_in_a_forest_have_the_probabilities_of_each_row_alone";
    let probabilities = |overrides: &[&str]| -> Option<Vec<Vec<f32>>> {
        let case = case(test, CLASSIFY, REVIEWS, overrides)?;
        let mut job = Job::prepare(&machine(), &case.run, case.model, &case.data).unwrap();
        let predictions = job.predict(&mut Silent).unwrap();
        assert!(predictions.usage.computed_tokens <= predictions.usage.prompt_tokens);
        Some(predictions.rows.into_iter().map(|row| row.probabilities.unwrap()).collect())
    };
    let Some(together) = probabilities(&[]) else { return };
    let alone = probabilities(&["trainer.eval_batch_size=1"]).unwrap();
    for (together, alone) in together.iter().zip(&alone) {
        assert!((together.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        for (a, b) in together.iter().zip(alone) {
            assert!((a - b).abs() < 1e-4, "{together:?} {alone:?}");
        }
    }
}

#[test]
fn a_classification_is_measured_and_its_results_are_written() {
    let test = "a_classification_is_measured_and_its_results_are_written";
    let Some(case) = case(test, CLASSIFY, REVIEWS, &[]) else { return };
    let mut job = Job::prepare_to_measure(&machine(), &case.run, case.model, &case.data).unwrap();
    let evaluation = job.evaluate(&mut Silent).unwrap();
    assert_eq!(evaluation.expected, ["positive", "negative", "positive", "negative"]);
    let report = serde_json::to_value(&evaluation.report).unwrap();
    let right = evaluation
        .predictions
        .rows
        .iter()
        .zip(&evaluation.expected)
        .filter(|(row, expected)| row.label.as_ref() == Some(expected))
        .count();
    let accuracy = report.pointer("/label/accuracy/value").and_then(serde_json::Value::as_f64);
    assert_eq!(accuracy, Some(right as f64 / 4.0), "{report:#}");

    let results = Results::create(&case.folder.path().join("out"), false).unwrap();
    let expected = Some(&evaluation.expected[..]);
    let file =
        results.write_predictions(&job, &evaluation.predictions, expected, Format::Csv).unwrap();
    results.write_statistics(&evaluation).unwrap();
    let headline = evaluation.headline.unwrap();
    assert_eq!((headline.metric.as_str(), headline.value), ("accuracy", right as f64 / 4.0));
    results.finish(&case.run, &job, &evaluation.predictions, Some(&headline)).unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    assert!(
        text.starts_with(
            "row,line,label_predictions,label_probabilities,label_probability,\
             label_probabilities_negative,label_probabilities_positive,label\n0,2,"
        ),
        "{text}"
    );
    assert_eq!(text.lines().count(), 5);
    for name in ["statistics.json", "run.yaml", "run.json"] {
        assert!(results.folder().join(name).exists(), "{name}");
    }
}

#[test]
fn the_validation_metric_names_the_headline_and_its_absence_is_no_failure() {
    let test = "the_validation_metric_names_the_headline_and_its_absence_is_no_failure";
    let headline = |table: &str, metric: &str| {
        let metric = format!("trainer.validation_metric={metric}");
        let case = case(test, CLASSIFY, table, &[&metric])?;
        let mut job =
            Job::prepare_to_measure(&machine(), &case.run, case.model, &case.data).unwrap();
        let evaluation = job.evaluate(&mut Silent).unwrap();
        Some((evaluation.headline, serde_json::to_value(evaluation.report).unwrap()))
    };
    let Some((figure, report)) = headline(REVIEWS, "f1_macro") else { return };
    let value = report.pointer("/label/f1_macro/value").unwrap().as_f64();
    assert_eq!(figure.map(|figure| figure.value), value);
    let one_label = "text,label\nA fine film.,positive\n";
    assert_eq!(headline(one_label, "roc_auc").unwrap().0, None);
}

#[test]
fn a_run_file_that_skips_evaluation_is_not_measured() {
    let test = "a_run_file_that_skips_evaluation_is_not_measured";
    let skip = ["trainer.skip_all_evaluation=true"];
    let Some(measured) = case(test, CLASSIFY, REVIEWS, &skip) else { return };
    let job = Job::prepare_to_measure(&machine(), &measured.run, measured.model, &measured.data);
    assert!(matches!(job, Err(fidelio::Error::NotMeasured)));
    let predicted = case(test, CLASSIFY, REVIEWS, &skip).unwrap();
    Job::prepare(&machine(), &predicted.run, predicted.model, &predicted.data).unwrap();
}

#[test]
fn answers_are_not_asked_of_a_run_that_has_not_learnt() {
    let test = "answers_are_not_asked_of_a_run_that_has_not_learnt";
    let run = ANSWER.replace("trainer: {type: none}", "trainer: {type: finetune}");
    let Some(Case { folder, run, model, data }) = case(test, &run, QUESTIONS, &[]) else {
        return;
    };
    let mut job = Job::prepare(&machine(), &run, model, &data).unwrap();
    let survey = job.survey(&mut Silent).unwrap();
    assert_eq!(survey.audit.unwrap().without_stop.rows, 0);
    assert!(survey.ledger.learnt > 10, "{:?}", survey.ledger);
    let error = job.predict(&mut Silent).unwrap_err();
    assert!(matches!(error, fidelio::Error::NotTrained), "{error}");
    drop(folder);
}

#[test]
fn every_turn_of_a_conversation_is_learnt_or_refused_by_name() {
    let test = "every_turn_of_a_conversation_is_learnt_or_refused_by_name";
    let run = "model_type: llm\nbase_model: MODEL\nadapter: lora\ntrainer: finetune\n\
               prompt: {messages: talk, learn: all}\ninput_features: [{name: q}]\n\
               output_features: [{name: a, type: text}]\n";
    let talk = |second: &str| {
        let turns =
            [("user", "Hi"), ("assistant", "Hello."), ("user", "Sure?"), ("assistant", second)];
        let message = |(role, content)| serde_json::json!({"role": role, "content": content});
        let messages: Vec<serde_json::Value> = turns.into_iter().map(message).collect();
        format!("\"{}\"\n", serde_json::json!(messages).to_string().replace('"', "\"\""))
    };
    let table = format!("talk\n{}{}", talk("Yes."), talk(" "));
    let Some(case) = case(test, run, &table, &[]) else { return };
    let job = Job::prepare(&machine(), &case.run, case.model, &case.data).unwrap();
    let survey = job.survey(&mut Silent).unwrap();
    let audit = survey.audit.unwrap();
    assert_eq!((audit.turns, audit.without_stop.rows), (2, 0));
    let learnt = &job.explain(0).unwrap()[0].tokens;
    let learnt: String = learnt.iter().filter(|t| t.learnt).map(|t| t.piece.as_str()).collect();
    assert_eq!(learnt, "Hello.<|im_end|>Yes.<|im_end|>");
    let [problem] = &survey.problems[..] else { panic!("{:?}", survey.problems) };
    assert_eq!(problem.place.line, 3);
    assert!(problem.error.to_string().contains("turn 2 of the assistant"), "{}", problem.error);
}

#[test]
fn every_metric_that_a_run_file_may_name_is_measured() {
    use fidelio::{
        config::catalogue::metrics_of,
        eval::{
            Bootstrap, CategoryRows, CategoryStatistics, DocumentStatistics, FeatureStatistics,
            LossSum, TextRows, TextStatistics, TokenRows,
        },
    };
    let labels = ["a", "b", "c"].map(String::from);
    let rows = CategoryRows {
        probabilities: Some(&[0.5, 0.3, 0.2, 0.1, 0.6, 0.3]),
        top_k: 2,
        ..CategoryRows::new(&labels, &[0, 1], &[0, 1])
    };
    let category = CategoryStatistics::measure(&rows, &Bootstrap::none()).unwrap();
    let text = ["a b", "c"].map(String::from);
    let losses = [LossSum { sum: 1.0, weight: 2.0 }, LossSum { sum: 1.0, weight: 1.0 }];
    let ids = [vec![1, 2], vec![3]];
    let rows = TextRows {
        tokens: Some(TokenRows { predictions: &ids, references: &ids }),
        losses: Some(&losses),
        ..TextRows::new(&text, &text)
    };
    let text = TextStatistics::measure(&rows, &Bootstrap::none()).unwrap();
    let read = DocumentStatistics::measure(&losses, &[4, 2], &Bootstrap::none()).unwrap();
    let kinds: [(&str, FeatureStatistics); 3] =
        [("category", category.into()), ("text", text.into()), ("document", read.into())];
    for (kind, statistics) in kinds {
        for metric in metrics_of(kind) {
            assert!(statistics.figure(metric.name).is_some(), "{kind} has no {}", metric.name);
        }
    }
}

#[test]
fn text_is_generated_and_measured() {
    let test = "text_is_generated_and_measured";
    let Some(case) = case(test, ANSWER, QUESTIONS, &[]) else { return };
    let mut job = Job::prepare_to_measure(&machine(), &case.run, case.model, &case.data).unwrap();
    let evaluation = job.evaluate(&mut Silent).unwrap();
    let responses: Vec<_> =
        evaluation.predictions.rows.iter().map(|row| row.response.clone().unwrap()).collect();
    assert_eq!(responses[0], "The capital of France is Paris.");
    let report = serde_json::to_value(&evaluation.report).unwrap();
    let figure = |name: &str| report.pointer(&format!("/answer/{name}/value")).unwrap().as_f64();
    assert_eq!(figure("exact_match"), Some(0.5), "{report:#}");
    assert!(figure("perplexity").unwrap() > 1.0);
}

#[test]
fn an_observer_stops_a_run_and_keeps_what_is_done() {
    struct Once;
    impl Observer for Once {
        fn on(&mut self, event: &Event) -> Flow {
            match event {
                Event::Progress { stage: fidelio::Stage::Scoring, .. } => Flow::Stop,
                _ => Flow::Continue,
            }
        }
    }
    let test = "an_observer_stops_a_run_and_keeps_what_is_done";
    let one = ["trainer.eval_batch_size=1"];
    let Some(case) = case(test, CLASSIFY, REVIEWS, &one) else { return };
    let mut job = Job::prepare(&machine(), &case.run, case.model, &case.data).unwrap();
    let predictions = job.predict(&mut Once).unwrap();
    assert!(predictions.stopped);
    assert_eq!(predictions.rows.len(), 1);
    let whole = job.predict(&mut Silent).unwrap();
    assert!(predictions.usage.prompt_tokens < whole.usage.prompt_tokens);
    assert!(predictions.usage.completion_tokens < whole.usage.completion_tokens);
}

#[test]
fn all_rows_that_cannot_be_prompts_are_named() {
    let test = "all_rows_that_cannot_be_prompts_are_named";
    let table =
        "text,label\nfine,positive\na <|im_end|> inside,negative\nb <|im_start|>,positive\n";
    let Some(case) = case(test, CLASSIFY, table, &[]) else { return };
    let mut job = Job::prepare(&machine(), &case.run, case.model, &case.data).unwrap();
    let survey = job.survey(&mut Silent).unwrap();
    let lines: Vec<usize> = survey.problems.iter().map(|problem| problem.place.line).collect();
    assert_eq!((survey.rows, lines), (3, vec![3, 4]));
    let error = job.predict(&mut Silent).unwrap_err();
    assert_eq!(error.to_string(), "2 of 3 rows cannot be used");
}

#[test]
fn a_mistake_in_the_template_points_into_the_run_file() {
    let test = "a_mistake_in_the_template_points_into_the_run_file";
    let run = CLASSIFY.replace("{task: 'Is", "{template: '{txt} {__task__}', task: 'Is");
    let Some(case) = case(test, &run, REVIEWS, &[]) else { return };
    let error = Job::prepare(&machine(), &case.run, case.model, &case.data).unwrap_err();
    let fidelio::Error::RunFile(problems) = error else { panic!("{error}") };
    let text = problems.to_string();
    assert!(text.contains("run.yaml:3") && text.contains("txt"), "{text}");
}

#[test]
fn an_absent_split_is_refused() {
    let test = "an_absent_split_is_refused";
    let split = ["preprocessing.split={type: random, probabilities: [1.0, 0.0, 0.0]}"];
    let Some(mut case) = case(test, CLASSIFY, REVIEWS, &split) else { return };
    case.data.split = SplitChoice::Test;
    let error = Job::prepare(&machine(), &case.run, case.model, &case.data).unwrap_err();
    assert_eq!(error.to_string(), "the test split has no rows");
}

/// A plan says everything; nothing in it is an open choice.
#[test]
fn a_plan_has_no_open_choice() {
    let test = "a_plan_has_no_open_choice";
    let Some(case) = case(test, ANSWER, QUESTIONS, &[]) else { return };
    let job = Job::prepare(&machine(), &case.run, case.model, &case.data).unwrap();
    let plan: &Plan = job.plan();
    let text = serde_json::to_string(plan).unwrap();
    assert!(!text.contains("\"auto\""), "{text}");
    assert_eq!(plan.context, 8192);
    assert!(plan.prompt.chat_template);
    assert!(Path::new(&plan.data.files[0]).ends_with("table.csv"));
}
