//! `fidelio advise`: prompt, show examples, or fine-tune? Each measured on the user's own rows.

use std::{path::PathBuf, time::Duration};

use fidelio::{Advice, AdviseOptions, Arm, ArmReport, SplitChoice, advise};
use serde_json::json;

use super::run_folder::RunFolder;
use crate::{
    args::{DataFlags, Global, PredictionsFormat, ResultFlags, RunFlags},
    failure::Failure,
    interrupt,
    ui::{
        Table, Ui, bytes,
        progress::{Lessons, Watch},
    },
};

/// Width of a bar in the terminal.
const BAR: usize = 24;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    data: DataFlags,
    /// How long it may take: `90s`, `15m` or `2h`.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    budget: Duration,
    /// Only these arms, separated by commas; `zero-shot` is always among them [default: those that
    /// suit the run file].
    #[arg(long, value_name = "ARMS", value_delimiter = ',', value_parser = arm)]
    arms: Option<Vec<Arm>>,
    /// Rows that you will answer with the winner: what learning costs is spread over them.
    #[arg(long, value_name = "N", default_value_t = AdviseOptions::default().answers)]
    answers: u64,
    /// The folder for the advice, run files of all arms, and what was learnt; `results/run_1`,
    /// `run_2`, … when not given.
    #[arg(short, long, value_name = "DIR")]
    output_directory: Option<PathBuf>,
    /// Replace an advice that is in the folder already.
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    if args.run.is_of_training_run() {
        return Err(Failure::usage_with(
            "`advise` compares ways of answering, and `-m` names one that is chosen already",
            "name the run file with `-c`",
        ));
    }
    let run = args.run.load()?;
    let data = args.data.to_args()?;
    if data.split != SplitChoice::Full {
        return Err(Failure::usage_with(
            "`advise` needs all splits: it learns from one, compares on another, and confirms on the \
             third",
            "leave `--split` out",
        ));
    }
    let machine = super::machine(global)?;
    interrupt::listen();
    let folder = RunFolder::create(&args.results())?;
    // The model is fetched with its bar, if it has to be.
    drop(super::model(&machine, &run, ui)?);
    let options =
        AdviseOptions { budget: args.budget, arms: args.arms.clone(), answers: args.answers };
    let (mut watch, mut lessons) = (Watch::new(ui), Lessons::new(ui));
    let results = folder.results();
    let advice = advise(&machine, &run, &data, &options, results, &mut watch, &mut lessons)?;
    watch.finish();
    let answer = json!({ "advice": advice, "folder": results.folder() });
    ui.result(&answer, || said(&advice))?;
    ui.note(format!("run files, page and data in {}", results.folder().display()));
    if advice.stopped {
        let kept = format!("the advice is of what was measured, in {}", results.folder().display());
        return Err(Failure::Interrupted { kept });
    }
    Ok(())
}

impl Args {
    fn results(&self) -> ResultFlags {
        ResultFlags {
            output_directory: self.output_directory.clone(),
            overwrite: self.overwrite,
            predictions_format: PredictionsFormat::Csv,
            skip_save_predictions: true,
        }
    }
}

fn arm(name: &str) -> Result<Arm, String> {
    Arm::named(name).ok_or_else(|| {
        let names: Vec<&str> = Arm::ALL.into_iter().map(Arm::name).collect();
        format!("there is no arm `{name}`; the arms are {}", names.join(", "))
    })
}

/// `90s`, `15m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time: write `90s`, `15m` or `2h`");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3_600.0,
        _ => return Err(wrong()),
    };
    let count: f64 = text[..text.len() - 1].trim().parse().map_err(|_| wrong())?;
    if count <= 0.0 {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(count * seconds).map_err(|_| wrong())
}

fn said(advice: &Advice) -> String {
    let mut parts = vec![table(advice), String::new()];
    for fork in &advice.chart {
        parts.push(format!("{}\n    {}", fork.question, fork.answer));
    }
    parts.extend(
        advice.left_out.iter().map(|it| format!("not tried: {}: {}", it.arm.name(), it.why)),
    );
    parts.extend(advice.more_labels.map(|more| {
        let gain = more.difference.difference;
        format!(
            "twice as many labels ({} rows beside {}): {:+.3} [{:+.3}, {:+.3}]",
            more.rows, more.half, gain.value, gain.low, gain.high
        )
    }));
    parts.extend([String::new(), advice.verdict.clone(), confirmed(advice), String::new()]);
    parts.join("\n")
}

/// What the recommended arm reached on test rows.
fn confirmed(advice: &Advice) -> String {
    let Some(confirmed) = &advice.confirmed else {
        return "There was no test row to confirm it on.".to_owned();
    };
    let (rows, score, name) = (confirmed.rows, confirmed.score, advice.score.name());
    let alone = confirmed.beside_zero_shot.as_ref();
    let alone = alone.map_or_else(String::new, |it| format!(", the prompt alone {:.3}", it.first));
    format!(
        "On {rows} test rows that nothing has touched: {name} {:.3} [{:.3}, {:.3}]{alone}.",
        score.value, score.low, score.high
    )
}

fn table(advice: &Advice) -> String {
    let score = advice.score.name();
    let mut table = Table::new([
        "arm",
        "rows",
        score,
        "95 %",
        "",
        "beside the best",
        "p",
        "tokens/row",
        "s/1,000 rows",
        "prepare",
        "memory",
        "",
    ]);
    for arm in &advice.arms {
        let cost = arm.cost;
        table.row([
            arm.arm.name().to_owned(),
            arm.rows.to_string(),
            format!("{:.3}", arm.score.value),
            format!("[{:.3}, {:.3}]", arm.score.low, arm.score.high),
            bar(arm, advice),
            arm.beside_best.map_or_else(String::new, |it| {
                let gap = it.difference;
                format!("{:+.3} [{:+.3}, {:+.3}]", gap.value, gap.low, gap.high)
            }),
            arm.beside_best.map_or_else(String::new, |_| format!("{:.3}", arm.p_value)),
            format!("{:.0}", cost.tokens_per_thousand / 1_000.0),
            format!("{:.1}", cost.seconds_per_thousand),
            format!("{:.1} s", cost.preparing),
            cost.peak_memory.map_or_else(String::new, bytes),
            remark(arm, advice),
        ]);
    }
    table.render()
}

/// The score as a bar, with the most frequent label's as a mark.
fn bar(arm: &ArmReport, advice: &Advice) -> String {
    let cell = |value: f64| (value.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    let mark = advice.majority.map(|majority| cell(majority).min(BAR - 1));
    let filled = cell(arm.score.value);
    let at = |it: usize| match () {
        () if mark == Some(it) => '|',
        () if it < filled => '━',
        () => '·',
    };
    (0..BAR).map(at).collect()
}

fn remark(arm: &ArmReport, advice: &Advice) -> String {
    let remark = match arm.stopped {
        _ if arm.arm == advice.recommended => "recommended",
        Some(why) => why.said(),
        None if arm.worse => "worse",
        None => "",
    };
    remark.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        for wrong in ["", "15", "m", "-3m", "0s", "1e99h", "15 min", "é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn arms_are_named() {
        assert_eq!(arm("few-shot"), Ok(Arm::FewShot));
        assert!(arm("fewshot").unwrap_err().contains("few-shot"));
    }
}
