//! `fidelio visualize`: pictures of runs, and a page about each.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use fidelio::{PictureFormat, PictureKind, RunRecord, pictures, report};
use serde_json::json;

use crate::{failure::Failure, ui::Ui};

/// Where pictures go that are given no folder.
const FOLDER: &str = "visualizations";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folders of runs; several share their pictures.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The folder for the pictures; when not given, `visualizations` in the run's folder, or in the
    /// current one if there are several runs.
    #[arg(short, long, value_name = "DIR")]
    output_directory: Option<PathBuf>,
    /// The format of the pictures.
    #[arg(long, value_name = "FORMAT", default_value = "svg")]
    file_format: FileFormat,
    /// Draw only pictures of this kind; may be repeated.
    #[arg(short, long, value_name = "KIND")]
    visualization: Vec<Kind>,
}

/// A format of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FileFormat {
    /// Vectors: sharp at any size.
    Svg,
    /// Pixels.
    Png,
}

/// What a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Kind {
    /// Losses and metrics over a run's updates.
    LearningCurves,
    /// Which label was taken for which.
    ConfusionMatrix,
    /// Figures of the runs side by side, with their intervals.
    ComparePerformance,
}

impl From<FileFormat> for PictureFormat {
    fn from(format: FileFormat) -> Self {
        match format {
            FileFormat::Svg => Self::Svg,
            FileFormat::Png => Self::Png,
        }
    }
}

impl From<Kind> for PictureKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::LearningCurves => Self::LearningCurves,
            Kind::ConfusionMatrix => Self::ConfusionMatrix,
            Kind::ComparePerformance => Self::ComparePerformance,
        }
    }
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<(), Failure> {
    let runs = RunRecord::open_all(&args.runs)?;
    let mut drawn = pictures(&runs)?;
    let wanted: Vec<PictureKind> = args.visualization.iter().map(|kind| (*kind).into()).collect();
    drawn.retain(|picture| wanted.is_empty() || wanted.contains(&picture.kind));
    if drawn.is_empty() {
        let names: Vec<&str> = wanted.iter().map(|kind| kind.name()).collect();
        return Err(Failure::usage_with(
            format!("these runs give no picture of `{}`", names.join("`, `")),
            "leave `--visualization` out to see what they give",
        ));
    }
    let folder = args.folder();
    let mut files = Vec::new();
    for picture in &drawn {
        files.push(picture.write(&folder, args.file_format.into())?);
    }
    let reports = runs.iter().map(report).collect::<Result<Vec<_>, _>>()?;
    ui.result(&json!({ "pictures": files, "reports": reports }), || said(&files, &reports))
}

impl Args {
    fn folder(&self) -> PathBuf {
        match (&self.output_directory, &self.runs[..]) {
            (Some(folder), _) => folder.clone(),
            (None, [run]) => run.join(FOLDER),
            (None, _) => PathBuf::from(FOLDER),
        }
    }
}

fn said(files: &[PathBuf], reports: &[PathBuf]) -> String {
    let line = |path: &Path| format!("{}\n", path.display());
    files.iter().chain(reports).map(|path| line(path)).collect()
}
