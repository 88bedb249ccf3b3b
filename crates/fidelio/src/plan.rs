//! Everything a run decides before its first row, with nothing left open.

use std::path::PathBuf;

use fidelio_backend::{Precision, Quantization, RotaryScaling};
use fidelio_config::{self as config, LabelScore, OutputFeature, RunConfig};
use fidelio_data::Source;
use fidelio_eval::{LabelMatcher, MatchKind, MatchRule};
use fidelio_generate::Decoding;
use fidelio_prompting::{
    Boundary, Budget, ChatUse, ExampleBudget, Fingerprint, Layout, LayoutSpec, Overflow, Renderer,
    Rules, ShowExamples, Side, Source as PromptSource, SpecialTokens, Turns,
};
use serde::Serialize;

use crate::{AnswerForm, Error, ExamplePlan, Model, ModelCard, RunFile, SplitChoice};

/// Tokens that a label's answer may take, beyond which labels are not labels any more.
const LABEL_ROOM: usize = 64;

/// A resolved run: printed by `fidelio plan`, stored with the results.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The version that made it.
    pub fidelio_version: &'static str,
    /// The model.
    pub model: ModelCard,
    /// What computes, as in `device:`.
    pub device: String,
    /// The arithmetic of activations.
    pub precision: &'static str,
    /// How weights are rounded while the model is loaded.
    pub quantization: Option<Quantization>,
    /// What the weights take in memory.
    pub weight_bytes: u64,
    /// Stretched rotary positions.
    pub rope_scaling: Option<RotaryScaling>,
    /// Tokens of prompt and answer together.
    pub context: usize,
    /// Of these, kept for the answer.
    pub reserved_for_answer: usize,
    /// How rows become prompts.
    pub prompt: PromptPlan,
    /// How answers are found.
    pub answer: AnswerPlan,
    /// Which rows.
    pub data: DataPlan,
    /// The metric that the run is judged by.
    pub validation_metric: String,
    /// Most rows in work at once.
    pub rows_at_once: usize,
    /// Seed of split, row sampling and token sampling.
    pub random_seed: u64,
}

/// How rows become prompts.
#[derive(Debug, Clone, Serialize)]
pub struct PromptPlan {
    /// Whether the model's chat template is used.
    pub chat_template: bool,
    /// The system message.
    pub system: Option<String>,
    /// What happens to rows that are too long.
    pub overflow: Overflow,
    /// How examples are chosen, where prompts show some.
    pub examples: Option<ExamplePlan>,
    /// Hashes and ids that decide a prompt.
    pub fingerprint: Fingerprint,
}

/// How answers are found.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum AnswerPlan {
    /// Text is generated.
    Text {
        /// How.
        decoding: Decoding,
        /// What it is held to: `json_schema`, `regex` or `grammar`; any text where none.
        #[serde(skip_serializing_if = "Option::is_none")]
        held_to: Option<&'static str>,
    },
    /// Labels are scored under the prompt.
    Score {
        /// The labels.
        labels: Vec<String>,
        /// How a label's tokens make its score.
        label_score: &'static str,
    },
    /// Nothing is answered: every token of a document is scored.
    Documents,
    /// Text is generated and rules find the label in it.
    Match {
        /// The labels.
        labels: Vec<String>,
        /// How the text is generated.
        decoding: Decoding,
        /// The rules, in order.
        rules: Vec<MatchRule>,
        /// The label when none fits.
        fallback_label: Option<String>,
    },
}

/// Which rows.
#[derive(Debug, Clone, Serialize)]
pub struct DataPlan {
    /// The files.
    pub files: Vec<PathBuf>,
    /// The part of them.
    pub split: SplitChoice,
    /// Rows in the files.
    pub rows_read: usize,
    /// Rows of the run.
    pub rows: usize,
    /// What was done that the run file does not say in so many words.
    pub notes: Vec<String>,
}

/// What is settled about an answer before there are rows.
pub(crate) struct Answering {
    pub(crate) plan: AnswerPlan,
    pub(crate) matcher: Option<LabelMatcher>,
    pub(crate) reserved: usize,
}

/// Settles how answers are found. `labels` are those of the data where the run file names none.
pub(crate) fn answering(
    run: &RunFile,
    model: &Model,
    renderer_stops: &[u32],
    labels: &[String],
    context: usize,
) -> Result<Answering, Error> {
    let config = run.config();
    if config.prompt.document.is_some() {
        return Ok(Answering { plan: AnswerPlan::Documents, matcher: None, reserved: 0 });
    }
    let generated = || -> Result<(Decoding, usize), Error> {
        let decoding = decoding(config, model, renderer_stops, context)?;
        let room = decoding.max_new_tokens;
        Ok((decoding, room))
    };
    match config.output() {
        OutputFeature::Text(_) => {
            let (decoding, reserved) = generated()?;
            let held_to = run.answer_form().map(AnswerForm::key);
            Ok(Answering { plan: AnswerPlan::Text { decoding, held_to }, matcher: None, reserved })
        }
        OutputFeature::Category(category) => {
            let extractor = category.decoder.extractor();
            let labels = labels.to_vec();
            match extractor.choose {
                config::Choose::Score => {
                    let score = extractor.label_score.unwrap_or(LabelScore::Mean);
                    let plan = AnswerPlan::Score { labels, label_score: name_of(score) };
                    Ok(Answering { plan, matcher: None, reserved: LABEL_ROOM.min(context / 2) })
                }
                config::Choose::Generate => {
                    let (decoding, reserved) = generated()?;
                    let rules: Vec<MatchRule> = extractor
                        .rules
                        .iter()
                        .flatten()
                        .map(|(label, rule)| rule_of(label, rule))
                        .collect();
                    let fallback_label = extractor.fallback_label.clone();
                    let matcher = LabelMatcher::new(rules.clone(), fallback_label.clone())?;
                    let plan = AnswerPlan::Match { labels, decoding, rules, fallback_label };
                    Ok(Answering { plan, matcher: Some(matcher), reserved })
                }
            }
        }
    }
}

fn name_of(score: LabelScore) -> &'static str {
    match score {
        LabelScore::Sum => "sum",
        LabelScore::Mean => "mean",
        LabelScore::Calibrated => "calibrated",
    }
}

fn rule_of(label: &str, rule: &config::MatchRule) -> MatchRule {
    let kind = match rule.kind {
        config::MatchKind::Contains => MatchKind::Contains,
        config::MatchKind::Regex => MatchKind::Regex,
        config::MatchKind::JsonSchema => MatchKind::JsonSchema,
    };
    MatchRule { label: label.into(), kind, value: rule.value.clone() }
}

/// The decoding settings of a run file, with what it leaves to the model filled in.
fn decoding(
    config: &RunConfig,
    model: &Model,
    stops: &[u32],
    context: usize,
) -> Result<Decoding, Error> {
    let mut decoding = Decoding {
        max_new_tokens: config.max_new_tokens(context),
        eos_token_id: stops.to_vec(),
        seed: config.sampling_seed(),
        ..Decoding::default()
    };
    let Some(written) = &config.generation else { return Ok(decoding) };
    decoding.min_new_tokens = written.min_new_tokens.unwrap_or(0);
    decoding.max_time = written.max_time;
    decoding.do_sample = written.do_sample;
    let number = |value: Option<f64>, or: f32| value.map_or(or, |value| value as f32);
    decoding.temperature = number(written.temperature, decoding.temperature);
    decoding.top_k = written.top_k.unwrap_or(decoding.top_k);
    decoding.top_p = number(written.top_p, decoding.top_p);
    decoding.min_p = number(written.min_p, decoding.min_p);
    decoding.typical_p = number(written.typical_p, decoding.typical_p);
    decoding.repetition_penalty = written.repetition_penalty as f32;
    decoding.presence_penalty = written.presence_penalty as f32;
    decoding.frequency_penalty = written.frequency_penalty as f32;
    decoding.no_repeat_ngram_size = written.no_repeat_ngram_size;
    decoding.bad_words_ids = written.bad_words_ids.clone().unwrap_or_default();
    for word in written.bad_words.iter().flatten() {
        decoding.bad_words_ids.extend(spellings(model, word)?);
    }
    decoding.suppress_tokens = written.suppress_tokens.clone().unwrap_or_default();
    decoding.begin_suppress_tokens = written.begin_suppress_tokens.clone().unwrap_or_default();
    decoding.stop_strings = written.stop.clone().unwrap_or_default();
    if let Some(eos) = &written.eos_token_id {
        decoding.eos_token_id = eos.as_slice().to_vec();
    }
    decoding.logprobs = written.logprobs;
    Ok(decoding)
}

/// A word as tokens, at the beginning of a text and after a space.
fn spellings(model: &Model, word: &str) -> Result<Vec<Vec<u32>>, Error> {
    let mut found = Vec::new();
    for text in [word.to_owned(), format!(" {word}")] {
        let encoding = model
            .vocabulary()
            .tokenizer()
            .encode(text, false)
            .map_err(|source| fidelio_prompting::PromptError::Tokenizer { source })?;
        let ids = encoding.get_ids().to_vec();
        if !ids.is_empty() && !found.contains(&ids) {
            found.push(ids);
        }
    }
    Ok(found)
}

/// Where prompts come from. Mistakes in the template point into the run file.
pub(crate) fn prompt_source(run: &RunFile, source: &dyn Source) -> Result<PromptSource, Error> {
    let config = run.config();
    let output = config.output().column();
    if let Some(column) = &config.prompt.document {
        fidelio_data::require_columns(source, &[column.as_str()])?;
        return Ok(PromptSource::Document { column: column.clone() });
    }
    if let Some(column) = &config.prompt.messages {
        fidelio_data::require_columns(source, &[column.as_str()])?;
        // An answer in a column of its own; else the last message is the answer.
        let apart = source.columns().iter().any(|have| have == output) && output != column;
        let output = apart.then(|| output.to_owned());
        return Ok(PromptSource::Messages { column: column.clone(), output });
    }
    let spec = LayoutSpec {
        template: config.prompt.template.clone(),
        task: config.prompt.task.clone(),
        examples: config.prompt.retrieval.as_ref().map(shown),
        input: config.input().column.clone().unwrap_or_else(|| config.input().name.clone()),
        output: Some(output.to_owned()),
        null_text: None,
    };
    let layout =
        Layout::new(&spec, source.columns()).map_err(|errors| template_problems(run, errors))?;
    Ok(PromptSource::Layout(layout))
}

/// How a run file wants examples or passages shown.
fn shown(how: &config::Retrieval) -> ShowExamples {
    let (format, separator) = (how.format.clone(), how.separator.clone().unwrap_or_default());
    match (how.show, &how.corpus) {
        (config::ShowExamples::Turns, _) => ShowExamples::AsTurns,
        (config::ShowExamples::Context, Some(_)) => ShowExamples::Passages { format, separator },
        (config::ShowExamples::Context, None) => ShowExamples::InText { format, separator },
    }
}

fn template_problems(run: &RunFile, errors: Vec<fidelio_prompting::TemplateError>) -> Error {
    let document = run.document();
    let problems = errors
        .into_iter()
        .map(|error| {
            let hint = error.hint().map(std::borrow::Cow::into_owned);
            let template = run.config().prompt.template.as_ref().map(|_| "prompt.template");
            let written = if error.in_format { Some("prompt.retrieval.format") } else { template };
            let problem = if let Some(path) = written {
                document.problem_within(
                    config::Kind::Contradiction,
                    path,
                    error.range.clone(),
                    error.to_string(),
                )
            } else {
                document.problem(config::Kind::Contradiction, "prompt", error.to_string())
            };
            match hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            }
        })
        .collect();
    Error::RunFile(document.problems(problems))
}

/// The renderer's rules. `reserved` tokens of `context` are kept for the answer.
pub(crate) fn rules(config: &RunConfig, context: usize, reserved: usize) -> Rules {
    let prompt = &config.prompt;
    let mut fields: std::collections::BTreeMap<String, usize> =
        prompt.budget.iter().flatten().map(|(field, &tokens)| (field.clone(), tokens)).collect();
    if let (Some(column), Some(most)) =
        (&config.input().column, config.input().preprocessing.max_sequence_length)
    {
        let tokens = fields.entry(column.clone()).or_insert(most);
        *tokens = (*tokens).min(most);
    }
    let side = |side| match side {
        config::Side::Left => Side::Left,
        config::Side::Right => Side::Right,
    };
    let overflow = match prompt.overflow {
        config::Overflow::Error => Overflow::Error,
        config::Overflow::Drop => Overflow::Drop,
        config::Overflow::Truncate { side: cut } => {
            Overflow::Truncate { side: side(cut), fields: None }
        }
        config::Overflow::Window { overlap } => Overflow::Window { overlap },
    };
    let examples = prompt.retrieval.as_ref().map_or_else(ExampleBudget::default, |how| {
        let fewer = how.over_budget == config::OverBudget::Fewer;
        ExampleBudget { most: how.max_tokens, fewer }
    });
    Rules {
        chat: match prompt.chat_template {
            config::ChatTemplate::Auto => ChatUse::Auto,
            config::ChatTemplate::Always => ChatUse::Always,
            config::ChatTemplate::Never => ChatUse::Never,
        },
        system: prompt.system.clone(),
        special_tokens_in_data: match prompt.special_tokens_in_data {
            config::SpecialTokens::Error => SpecialTokens::Error,
            config::SpecialTokens::Allow => SpecialTokens::Allow,
            config::SpecialTokens::Escape => SpecialTokens::Escape,
        },
        boundary: match prompt.boundary {
            config::Boundary::Error => Boundary::Error,
            config::Boundary::Separate => Boundary::Separate,
        },
        turns: match prompt.learn {
            Some(config::LearntTurns::All) => Turns::All,
            Some(config::LearntTurns::Last) | None => Turns::Last,
        },
        budget: Budget { context: Some(context), reserved, fields, examples, overflow },
        ..Rules::default()
    }
}

/// The context a run has: the model's, stretched or limited by the run file.
pub(crate) fn context(config: &RunConfig, model: &Model) -> usize {
    let own = model.checkpoint().describe().context.unwrap_or(2048) as usize;
    let stretched = match config.model_parameters.as_ref().and_then(|it| it.rope_scaling) {
        Some(scaling) => (own as f64 * scaling.factor) as usize,
        None => own,
    };
    config.preprocessing.global_max_sequence_length.map_or(stretched, |most| most.min(stretched))
}

/// The rotary scaling a run file asks for.
pub(crate) fn rotary(config: &RunConfig) -> Option<RotaryScaling> {
    let scaling = config.model_parameters.as_ref()?.rope_scaling?;
    Some(match scaling.rope_type {
        config::RopeType::Linear => RotaryScaling::Linear { factor: scaling.factor },
        config::RopeType::Dynamic => RotaryScaling::Dynamic { factor: scaling.factor },
    })
}

/// The arithmetic of activations that a run file wants.
pub(crate) fn precision(config: &RunConfig) -> Precision {
    match config.precision {
        config::Precision::Int8Activations => Precision::Int8Activations,
        config::Precision::Bf16 => Precision::Bf16,
        // The bounds of the reference numerics hold for nothing less.
        _ => Precision::F32,
    }
}

/// How a run file wants weights rounded.
pub(crate) fn quantization(config: &RunConfig) -> Option<Quantization> {
    let asked = config.quantization?;
    let double_quant = asked.bnb_4bit_use_double_quant.unwrap_or(true);
    Some(match (asked.bits, asked.bnb_4bit_quant_type) {
        (8, _) => Quantization::Int8,
        (_, Some(config::FourBits::Fp4)) => Quantization::Fp4 { double_quant },
        _ => Quantization::Nf4 { double_quant },
    })
}

impl PromptPlan {
    pub(crate) fn of(renderer: &Renderer, examples: Option<ExamplePlan>) -> Self {
        let rules = renderer.rules();
        Self {
            chat_template: renderer.chat_template().is_some(),
            system: rules.system.clone(),
            overflow: rules.budget.overflow.clone(),
            examples,
            fingerprint: renderer.fingerprint(),
        }
    }
}
