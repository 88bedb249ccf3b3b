//! `fidelio embed`: the vectors of a table's texts.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use fidelio::{EmbedOptions, EmbedUsage, Embedder, LongTexts, backend::Pooling, data, embed_table};
use serde_json::json;

use crate::{
    args::{Global, read_options},
    failure::Failure,
    interrupt,
    ui::{
        self, Ui,
        progress::{Downloads, Watch},
    },
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model: an alias, a folder, a GGUF file, or a hub id.
    #[arg(long, value_name = "MODEL", default_value = "minilm")]
    model: String,
    /// The table: CSV, TSV, JSON, JSON Lines, Parquet or Excel; repeat it for several files.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    dataset: Vec<PathBuf>,
    /// The files' format; by their extension when not given.
    #[arg(long, value_name = "FORMAT")]
    data_format: Option<String>,
    /// A column of texts; repeat it for several. Its vectors become the column `COLUMN_embedding`.
    #[arg(long, value_name = "COLUMN", required = true)]
    column: Vec<String>,
    /// The file that is written: all columns and the vectors, as Parquet, JSON Lines or CSV by its
    /// extension.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if it is there already.
    #[arg(long)]
    overwrite: bool,
    /// How the states of a text's tokens become one vector [default: as the model says, or mean].
    #[arg(long, value_name = "POOLING")]
    pooling: Option<PoolingName>,
    /// Whether vectors are brought to length 1 [default: as the model says, or false].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    normalize: Option<bool>,
    /// What happens to texts that are longer than the model takes.
    #[arg(long, value_name = "RULE", default_value = "error")]
    long_texts: Long,
    /// What computes, for example `flex` or `cuda:1`.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Compute what the cache has already.
    #[arg(long)]
    anew: bool,
}

/// A pooling, as on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PoolingName {
    /// The mean over all tokens.
    Mean,
    /// The first token; for encoders.
    Cls,
    /// The last token; for models that read from left to right.
    Last,
}

/// A rule for long texts, as on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Long {
    /// Nothing is computed, and the rows are named.
    Error,
    /// Their ends are cut off and counted.
    Truncate,
}

impl Args {
    fn options(&self) -> EmbedOptions {
        EmbedOptions {
            pooling: self.pooling.map(|it| match it {
                PoolingName::Mean => Pooling::Mean,
                PoolingName::Cls => Pooling::Cls,
                PoolingName::Last => Pooling::Last,
            }),
            normalize: self.normalize,
            long_texts: match self.long_texts {
                Long::Error => LongTexts::Error,
                Long::Truncate => LongTexts::Truncate,
            },
            anew: self.anew,
        }
    }
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let format = format_of(&args.output)?;
    if args.output.exists() && !args.overwrite {
        return Err(Failure::usage_with(
            format!("`{}` is there already", args.output.display()),
            "name another file with `--output`, or add `--overwrite`",
        ));
    }
    let options = read_options(args.data_format.as_deref())?;
    let table = data::Table::open(&args.dataset, &options)?;
    let machine = super::machine(global)?;
    interrupt::listen();
    let downloads = Downloads::new(ui);
    let mut embedder =
        Embedder::open(&machine, &args.model, &args.device, &args.options(), &downloads)?;

    let mut watch = Watch::new(ui);
    let written =
        embed_table(&mut embedder, &table, &args.column, &args.output, format, &mut watch)?;
    watch.finish();

    say_usage(ui, &written.usage);
    if written.without_text > 0 {
        let cells = ui::count(written.without_text, "cell");
        ui.note(format!("note: {cells} without a text, and so without a vector"));
    }
    if written.stopped {
        let kept = format!(
            "{} texts are in the cache; run it again to go on",
            written.usage.computed + written.usage.from_cache
        );
        return Err(Failure::Interrupted { kept });
    }
    let value = json!({ "plan": embedder.plan(), "table": written });
    ui.result(&value, || format!("{}\n", args.output.display()))
}

/// The format that a file's name says, where it can be written.
fn format_of(output: &Path) -> Result<data::Format, Failure> {
    match data::Format::of(output) {
        Ok(data::Format::Excel) | Err(_) => Err(Failure::usage_with(
            format!("`{}` is named for no format that can be written", output.display()),
            "let its name end in .parquet, .jsonl, .json, .csv or .tsv",
        )),
        Ok(format) => Ok(format),
    }
}

/// What it took, on one line, and what was cut.
fn say_usage(ui: &Ui, usage: &EmbedUsage) {
    let computed = match usage.texts_per_second {
        Some(rate) => format!(
            "{} computed in {}, {rate:.0} texts/s",
            ui::count(usage.computed, "different text"),
            ui::seconds(usage.seconds)
        ),
        None => "nothing computed".to_owned(),
    };
    ui.note(format!(
        "{}: {computed}, {} from the cache",
        ui::count(usage.texts, "text"),
        usage.from_cache
    ));
    if usage.cut_texts > 0 {
        let texts = ui::count(usage.cut_texts, "text");
        ui.note(format!("note: {texts} cut: {} tokens are in no vector", usage.cut_tokens));
    }
}
