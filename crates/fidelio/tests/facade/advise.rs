//! Advice: which arm is taken, by what rows, and what is left out of the contest.

use std::time::Duration;

use fidelio::{
    Advice, AdviseOptions, Arm, DataArgs, Error, Event, Flow, Observer, Results, RunFile, Silent,
    advise, config::Override, trainer,
};

use crate::{
    default_model,
    examples::{Case, Heard},
    machine,
};

const RUN: &str = "\
model_type: llm
base_model: MODEL
prompt: {template: 'Item: {item}. Color:'}
input_features: [{name: item, type: text}]
output_features: [{name: color, type: category}]
preprocessing: {split: fixed}
trainer: {type: none}
";

const COLORS: [&str; 4] = ["red", "blue", "green", "black"];

/// Nobody can know an item's color; but every item stands among the training rows.
fn items(training: usize, validation: usize, test: usize) -> String {
    let row = |number: usize, split: usize| {
        // As far from each other as words of four letters are.
        let name: String = [7, 11, 13, 17]
            .map(|step| char::from(b'a' + ((number % training) * step / 3 % 26) as u8))
            .iter()
            .collect();
        let color = COLORS[(number % training) * 7 / 3 % 4];
        format!("{name}{} in lot {split}{number},{color},{split}\n", number % training)
    };
    let rows = (0..training).map(|it| row(it, 0));
    let rows = rows.chain((0..validation).map(|it| row(it, 1)));
    let rows = rows.chain((0..test).map(|it| row(it, 2)));
    format!("item,color,split\n{}", rows.collect::<String>())
}

fn options(arms: &[Arm]) -> AdviseOptions {
    let budget = Duration::from_mins(10);
    AdviseOptions { budget, arms: Some(arms.to_vec()), ..AdviseOptions::default() }
}

/// Advice of an engine that answers by a hash of what it reads.
fn of_nobody(
    case: &Case,
    table: &str,
    options: &AdviseOptions,
    overrides: &[&str],
    observer: &mut dyn Observer,
) -> Result<Advice, Error> {
    let text = RUN.replace("MODEL", case.folder.path().to_str().unwrap());
    let overrides: Vec<Override> = overrides.iter().map(|it| Override::new(*it)).collect();
    let run = RunFile::parse("run.yaml", &text, &overrides)?;
    let data = DataArgs::of(case.write("items.csv", table));
    let results = Results::create(&case.folder.path().join("advice"), true)?;
    advise(&case.machine, &run, &data, options, &results, observer, &mut trainer::Silent)
}

#[test]
fn where_nothing_differs_the_cheapest_is_taken_and_it_says_so() {
    let case = Case::new();
    let arms = [Arm::FewShot, Arm::Bm25, Arm::Semantic];
    let semantic = format!(
        "prompt.retrieval={{type: semantic, k: 2, show: turns, model_name: {}}}",
        case.folder.path().display()
    );
    let table = items(40, 60, 50);
    let advice = of_nobody(&case, &table, &options(&arms), &[&semantic], &mut Silent).unwrap();
    let tried: Vec<Arm> = advice.arms.iter().map(|it| it.arm).collect();
    assert_eq!(tried, [Arm::ZeroShot, Arm::FewShot, Arm::Bm25, Arm::Semantic]);
    assert!(advice.arms.iter().all(|it| it.rows == 60 && !it.worse && it.stopped.is_none()));
    assert!(advice.verdict.starts_with("No significant difference"), "{}", advice.verdict);
    let cheapest = advice.arms.iter().min_by(|a, b| a.cost.total.total_cmp(&b.cost.total));
    assert_eq!(cheapest.map(|it| it.arm), Some(advice.recommended));
    assert_eq!(advice.confirmed.as_ref().map(|it| it.rows), Some(50));
    assert_eq!(advice.chart.len(), 4);
    for arm in &advice.arms {
        let run = RunFile::load(&arm.run_file, &[]).unwrap();
        let shows = run.config().prompt.retrieval.as_ref().map(|it| it.k);
        let expected = match arm.arm {
            Arm::ZeroShot => None,
            _ => Some(Some(2)),
        };
        assert_eq!(shows, expected);
    }
    let page = case.folder.path().join("advice/advice.html");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("No significant difference") && page.contains("<svg"));
    let data = std::fs::read(case.folder.path().join("advice/advice.json")).unwrap();
    let data: serde_json::Value = serde_json::from_slice(&data).unwrap();
    assert_eq!(data["recommended"], advice.recommended.name());
}

/// Rows that are learnt or shown are not measured, in validation or in test.
#[test]
fn rows_that_stand_in_two_splits_are_not_measured() {
    let case = Case::new();
    let mut table = items(40, 60, 50);
    table.push_str("LEAKY  item,red,0\nleaky item,red,1\nLeaky item ,red,2\nother,red,1\n");
    table.push_str("Other,red,2\n");
    let mut heard = Heard::default();
    let advice = of_nobody(&case, &table, &options(&[]), &[], &mut heard).unwrap();
    assert_eq!((advice.leaks.validation.rows, advice.leaks.test.rows), (1, 2));
    assert_eq!(advice.validation_rows, 61);
    assert_eq!(advice.confirmed.map(|it| it.rows), Some(50));
    assert!(heard.0.iter().any(|it| it.contains("line 153")), "{:?}", heard.0);
}

#[test]
fn an_arm_that_cannot_be_tried_is_left_out_by_name() {
    let case = Case::new();
    let arms = [Arm::Semantic, Arm::Lora];
    let advice = of_nobody(&case, &items(40, 40, 0), &options(&arms), &[], &mut Silent).unwrap();
    let left_out: Vec<(Arm, bool)> =
        advice.left_out.iter().map(|it| (it.arm, it.why.contains("minilm"))).collect();
    assert_eq!(left_out, [(Arm::Semantic, true), (Arm::Lora, false)], "{:?}", advice.left_out);
    assert_eq!(advice.confirmed, None);
}

/// Stops at the first call after so many rows.
struct Until(usize);

impl Observer for Until {
    fn on(&mut self, event: &Event) -> Flow {
        let Event::Progress { stage: fidelio::Stage::Scoring, .. } = event else {
            return Flow::Continue;
        };
        self.0 = self.0.saturating_sub(1);
        if self.0 == 0 { Flow::Stop } else { Flow::Continue }
    }
}

#[test]
fn what_was_measured_before_a_stop_counts() {
    let case = Case::new();
    let table = items(40, 200, 50);
    let advise =
        |calls| of_nobody(&case, &table, &options(&[Arm::FewShot]), &[], &mut Until(calls));
    let stopped = (2..20).filter_map(|calls| advise(calls).ok()).find(|it| it.stopped);
    let advice = stopped.unwrap();
    let rows: Vec<usize> = advice.arms.iter().map(|it| it.rows).collect();
    assert!(rows[0] == rows[1] && (8..200).contains(&rows[0]), "{rows:?}");
    assert!(matches!(advise(1), Err(Error::Stopped)));
}

/// On the real model: what no prompt alone can know, rows that share its words tell.
#[test]
fn examples_by_common_words_win_where_only_they_know() {
    let test = "examples_by_common_words_win_where_only_they_know";
    let Some(model) = default_model(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("items.csv");
    std::fs::write(&table, items(40, 40, 24)).unwrap();
    let text = RUN.replace("MODEL", model.to_str().unwrap());
    let prompt = "{chat_template: false, template: \"{__context__}\\n\\nItem: {item}. Color:\", \
        retrieval: {type: bm25, k: 1}}";
    let run = RunFile::parse("run.yaml", &text, &[format!("prompt={prompt}").into()]).unwrap();
    let results = Results::create(&folder.path().join("advice"), false).unwrap();
    let (data, options) = (DataArgs::of(table), options(&[Arm::FewShot, Arm::Bm25]));
    let machine = machine();
    let advice =
        advise(&machine, &run, &data, &options, &results, &mut Silent, &mut trainer::Silent);
    let advice = advice.unwrap();
    let scores: Vec<f64> = advice.arms.iter().map(|it| it.score.value).collect();
    assert_eq!(advice.recommended, Arm::Bm25, "{scores:?}");
    assert!(advice.arms.iter().all(|it| it.worse == (it.arm != Arm::Bm25)), "{scores:?}");
    let confirmed = advice.confirmed.unwrap();
    let beside = confirmed.beside_zero_shot.unwrap();
    assert!(beside.difference.low > 0.0, "{confirmed:?}");
}
