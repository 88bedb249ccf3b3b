//! Draws one picture of each kind into a folder, to look at.
//!
//! `cargo run -p fidelio-charts --example gallery -- FOLDER`

use std::{error::Error, path::PathBuf};

use fidelio_charts::{
    Bar, BarChart, BarGroup, ConfusionMatrix, Line, LineChart, Mark, Stroke, Svg,
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".into()));
    let pictures = [
        ("curves", curves().draw()?),
        ("matrix", matrix(4).draw()?),
        ("large_matrix", matrix(45).draw()?),
        ("bars", bars(3).draw()?),
        ("few_bars", bars(1).draw()?),
    ];
    for (name, svg) in pictures {
        save(&folder, name, &svg)?;
    }
    Ok(())
}

fn save(folder: &std::path::Path, name: &str, svg: &Svg) -> Result<(), Box<dyn Error>> {
    std::fs::write(folder.join(format!("{name}.svg")), svg.as_str())?;
    std::fs::write(folder.join(format!("{name}.png")), svg.png(2.0)?)?;
    Ok(())
}

fn curves() -> LineChart {
    let mut chart = LineChart::new("Loss of three runs", "update", "loss (nats per token)");
    for series in 0..3 {
        let name = ["LoRA, rank 8", "LoRA, rank 64", "all weights, <slow> & steady"][series];
        let falling = |x: f64| 0.4 + 2.0 / (1.0 + x / (120.0 * (series + 1) as f64));
        let noise = |x: f64| 0.15 * (x * 12.989 + series as f64).sin() * (x * 0.7).cos();
        let x = (1..=1200).map(f64::from);
        let training = x.map(|x| (x, falling(x) + noise(x))).collect();
        let validation = (1..=12).map(|x| (f64::from(x) * 100.0, falling(f64::from(x) * 90.0)));
        let name = |what: &str| format!("{name}, {what}");
        let line = Line::new(name("training"), training);
        chart.lines.push(Line { series, stroke: Stroke::Faint, ..line });
        chart.lines.push(Line { series, ..Line::new(name("validation"), validation.collect()) });
    }
    chart
}

fn matrix(labels: usize) -> ConfusionMatrix {
    let names = ["positive", "negative", "neither of the two, as far as anyone can tell", "不明"];
    let label = |i: usize| names.get(i).map_or_else(|| format!("topic {i}"), ToString::to_string);
    let count = |i: usize, j: usize| match (i * 7 + j * 3) % 11 {
        _ if i == j => 40 + (i * 13 % 30) as u64,
        few => (few / 3) as u64,
    };
    ConfusionMatrix {
        title: "label: 200 rows (test)".into(),
        labels: (0..labels).map(label).collect(),
        counts: (0..labels).map(|i| (0..labels).map(|j| count(i, j)).collect()).collect(),
    }
}

fn bars(runs: usize) -> BarChart {
    let names = ["zero-shot", "tuned", "tuned with twice the rows and half the learning rate"];
    let group = |(name, value, baseline): (&str, f64, f64)| {
        let bar = |series: usize| {
            let value = value + 0.06 * series as f64;
            let mark =
                Mark { name: "always answering the most frequent label".into(), value: baseline };
            let name = if runs == 1 { String::new() } else { names[series].into() };
            let interval = Some((value - 0.05, value + 0.04));
            Bar { name, value, interval, series, mark: Some(mark) }
        };
        BarGroup { name: name.into(), bars: (0..runs).map(bar).collect() }
    };
    let figures = [("accuracy", 0.74, 0.7), ("macro-F1", 0.61, 0.41), ("kappa", -0.1, 0.0)];
    BarChart {
        title: "Shares".into(),
        axis: "share, 1 is best".into(),
        groups: figures.into_iter().map(group).collect(),
    }
}
