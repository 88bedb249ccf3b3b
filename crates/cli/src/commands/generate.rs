//! `fidelio generate`: one prompt, continued; the text streams as it comes.

use std::{
    io::{IsTerminal as _, Read as _},
    path::{Path, PathBuf},
};

use fidelio::{
    Flow, Generated,
    generate::{Decoding, GenerateError, Grammar, GrammarError},
};

use crate::{
    args::{Global, ModelFlags},
    failure::Failure,
    interrupt,
    ui::Ui,
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelFlags,
    /// The prompt; `-`, or none, reads it from stdin.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Do not wrap the prompt in the model's chat template.
    #[arg(long)]
    raw: bool,
    /// A system message.
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// Continue it once before, and throw that away: for measurements.
    #[arg(long)]
    warm_up: bool,
    #[command(flatten)]
    form: FormFlags,
    #[command(flatten)]
    decoding: DecodingFlags,
}

/// What the text is held to, in the place of the form of a run's answers.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
#[command(next_help_heading = "Form")]
pub(crate) struct FormFlags {
    /// Hold the text to the JSON Schema in this file.
    #[arg(long, value_name = "FILE")]
    json_schema: Option<PathBuf>,
    /// Hold the text to this regular expression, which matches it as a whole.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    regex: Option<String>,
    /// Hold the text to the grammar in this file: EBNF or Lark.
    #[arg(long, value_name = "FILE")]
    grammar: Option<PathBuf>,
}

impl FormFlags {
    /// What they say; none where none is given.
    fn grammar(&self) -> Result<Option<Grammar>, Failure> {
        let wrong =
            |error: GrammarError| Failure::from(fidelio::Error::from(GenerateError::from(error)));
        if let Some(path) = &self.json_schema {
            let schema = serde_json::from_str(&read(path)?).map_err(|error| {
                Failure::usage(format!("`{}` is not JSON: {error}", path.display()))
            })?;
            return Grammar::json_schema(&schema).map(Some).map_err(wrong);
        }
        if let Some(pattern) = &self.regex {
            return Grammar::regex(pattern).map(Some).map_err(wrong);
        }
        let Some(path) = &self.grammar else { return Ok(None) };
        Grammar::parse(&read(path)?).map(Some).map_err(wrong)
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}

/// How tokens are chosen.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Decoding")]
pub(crate) struct DecodingFlags {
    /// At most so many tokens.
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_new_tokens: usize,
    /// Do not end by itself before so many tokens.
    #[arg(long, value_name = "N")]
    min_new_tokens: Option<usize>,
    /// Sample, with logits divided by this; greedy when not given, or 0.
    #[arg(long, allow_negative_numbers = true, value_name = "X")]
    temperature: Option<f32>,
    /// Sample among the so many likeliest tokens; 0 for all.
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Sample among the fewest tokens that have this probability together.
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Sample among tokens at least this many times as likely as the likeliest.
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Divide the logits of tokens that were there before by this.
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f32>,
    /// Seed of sampling.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// End at this text; may be repeated.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
}

impl DecodingFlags {
    /// The flags on top of what the model brings.
    pub(super) fn over(&self, model: Decoding) -> Result<Decoding, Failure> {
        let sampled = self.temperature.is_some_and(|temperature| temperature != 0.0);
        let mut decoding = Decoding { max_new_tokens: self.max_new_tokens, ..model };
        if sampled {
            decoding.do_sample = true;
            decoding.temperature = self.temperature.unwrap_or(decoding.temperature);
        }
        decoding.min_new_tokens = self.min_new_tokens.unwrap_or(decoding.min_new_tokens);
        decoding.top_k = self.top_k.unwrap_or(decoding.top_k);
        decoding.top_p = self.top_p.unwrap_or(decoding.top_p);
        decoding.min_p = self.min_p.unwrap_or(decoding.min_p);
        decoding.repetition_penalty =
            self.repetition_penalty.unwrap_or(decoding.repetition_penalty);
        decoding.seed = self.seed.unwrap_or(decoding.seed);
        decoding.stop_strings.extend(self.stop.iter().cloned());
        let useless = [
            ("--top-k", self.top_k.is_some()),
            ("--top-p", self.top_p.is_some()),
            ("--min-p", self.min_p.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        if let (false, Some((flag, _))) = (sampled, useless.iter().find(|(_, given)| *given)) {
            return Err(Failure::usage_with(
                format!("`{flag}` has no effect, since decoding is greedy"),
                "add `--temperature 1` to sample, or leave it out",
            ));
        }
        decoding.check().map_err(fidelio::Error::from)?;
        Ok(decoding)
    }
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let prompt = prompt(args)?;
    // Flags are checked before a model is loaded for nothing.
    args.decoding.over(Decoding::default())?;
    let grammar = args.form.grammar()?;
    let machine = super::machine(global)?;
    interrupt::listen();
    let mut generator = args.model.open(&machine, ui)?;
    if grammar.is_some() {
        generator.hold_to(grammar);
    }
    let decoding = args.decoding.over(generator.decoding()?)?;
    let ids = generator.prompt(&prompt, args.raw, args.system.as_deref())?;

    if args.warm_up {
        let flow = |_: &str| if interrupt::asked() { Flow::Stop } else { Flow::Continue };
        generator.generate(&ids, decoding.clone(), &mut { flow })?;
    }
    let mut sink = Sink::new(ui);
    let generated = generator.generate(&ids, decoding, &mut |text| sink.take(text))?;
    sink.end(&generated)?;
    if ui.is_json() {
        ui.json(&generated)?;
    }
    say_usage(ui, &generated);
    match generated.finish_reason {
        "stop" | "length" => Ok(()),
        "cancelled" => Err(Failure::Interrupted { kept: "the text ends here".to_owned() }),
        _ => Err(Failure::Found),
    }
}

fn prompt(args: &Args) -> Result<String, Failure> {
    let mut stdin = std::io::stdin();
    match args.prompt.as_deref() {
        Some(text) if text != "-" => Ok(text.to_owned()),
        None if stdin.is_terminal() => Err(Failure::usage_with(
            "no prompt is given",
            "add `--prompt TEXT`, or pipe the prompt in",
        )),
        _ => {
            let mut text = String::new();
            stdin
                .read_to_string(&mut text)
                .map_err(|source| Failure::Read { path: "stdin".into(), source })?;
            // `echo` adds a line break that nobody means.
            let end = text.strip_suffix('\n').map_or(text.len(), str::len);
            text.truncate(end);
            Ok(text)
        }
    }
}

/// Where text goes as it comes: stdout, unless the result is wanted as JSON.
pub(super) struct Sink<'a> {
    ui: &'a Ui,
    failed: Option<Failure>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(ui: &'a Ui) -> Self {
        Self { ui, failed: None }
    }

    /// Takes a piece of text; says to stop where the user asked to, or nobody reads any more.
    pub(super) fn take(&mut self, text: &str) -> Flow {
        let asked = interrupt::asked();
        if !self.ui.is_json() {
            self.failed = self.failed.take().or(self.ui.print(text).err());
        }
        if asked || self.failed.is_some() { Flow::Stop } else { Flow::Continue }
    }

    /// Ends the text's last line.
    pub(super) fn end(self, generated: &Generated) -> Result<(), Failure> {
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        let ended = self.ui.is_json() || generated.text.ends_with('\n');
        if ended { Ok(()) } else { self.ui.print("\n") }
    }
}

/// Tokens, speeds, and why it ended, on one line.
pub(super) fn say_usage(ui: &Ui, generated: &Generated) {
    let usage = &generated.usage;
    let rate = |rate: Option<f64>| rate.map_or(String::new(), |rate| format!(" at {rate:.0}/s"));
    let why = match generated.finish_reason {
        "stop" => "ended by itself",
        "length" => "cut at the most new tokens",
        "cancelled" => "stopped",
        "time" => "out of time",
        "cache_full" => "out of room for its tokens",
        "failed" => "no token could be chosen",
        other => other,
    };
    ui.note(format!(
        "[{} prompt tokens{}, {} new tokens{}, {why}]",
        usage.prompt_tokens,
        rate(usage.prefill_tokens_per_second),
        usage.completion_tokens,
        rate(usage.decode_tokens_per_second),
    ));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        flags: DecodingFlags,
    }

    fn over(flags: &[&str]) -> Result<Decoding, Failure> {
        let flags = Flags::parse_from([&["x"], flags].concat());
        flags.flags.over(Decoding::default())
    }

    #[test]
    fn a_temperature_means_sampling_and_none_means_greedy() {
        assert!(!over(&[]).unwrap().do_sample);
        assert!(!over(&["--temperature", "0"]).unwrap().do_sample);
        let sampled = over(&["--temperature", "0.7", "--top-p", "0.9", "--seed", "3"]).unwrap();
        assert!(sampled.do_sample);
        assert_eq!((sampled.temperature, sampled.top_p, sampled.seed), (0.7, 0.9, 3));
        let long = over(&["--min-new-tokens", "7", "--max-new-tokens", "9"]).unwrap();
        assert_eq!((long.min_new_tokens, long.max_new_tokens), (7, 9));
    }

    #[test]
    fn flags_without_effect_and_values_that_cannot_be_are_refused() {
        for flags in [
            ["--top-k", "5"],
            ["--seed", "1"],
            ["--temperature", "-1"],
            ["--min-new-tokens", "257"],
        ] {
            let failure = over(&flags).unwrap_err();
            assert_eq!(failure.code(), 2, "{flags:?}");
        }
        assert_eq!(over(&["--stop", "a", "--stop", "b"]).unwrap().stop_strings, ["a", "b"]);
    }
}
