//! Run files that are fine, and what they mean.

use std::num::NonZeroUsize;

use fidelio_config::{
    Adapter, AnyDocument, BatchSize, Batches, ChatTemplate, Checkpoints, Choose, Decay, Duplicates,
    ExampleOrder, Finetune, Generation, GradientClipping, LabelScore, LearntTurns, Length,
    LoraStart, MatchKind, Optimizer, OutputFeature, OverBudget, Overflow, Override, RetrievalKind,
    RunConfig, ShowExamples, Side, Split, TargetModules, parse, parse_any,
};
use serde_json::Value;

use crate::files;

const TEXT: &str = "model_type: llm\nbase_model: m\ninput_features: [{name: q}]\n\
                    output_features: [{name: a, type: text}]\n";

fn config(text: &str) -> RunConfig {
    parse("run.yaml", text, &[]).unwrap_or_else(|problems| panic!("{problems}")).config
}

fn file(name: &str) -> RunConfig {
    let (_, text) = files::all("good").into_iter().find(|(found, _)| found == name).unwrap();
    config(&text)
}

fn generation(config: &RunConfig) -> &Generation {
    config.generation.as_ref().unwrap()
}

#[test]
fn rendered_files_are_canonical() {
    for (name, text) in files::all("good") {
        let document = parse("run.yaml", &text, &[]).unwrap_or_else(|p| panic!("{name}\n{p}"));
        let rendered = document.render();
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("rendered-{name}"), rendered);
        });
        let again = parse("again.yaml", &rendered, &[]).unwrap_or_else(|p| panic!("{name}\n{p}"));
        assert_eq!(again.config, document.config, "{name}");
        assert_eq!(again.render(), rendered, "{name}");
    }
}

#[test]
fn rendered_probes_are_canonical() {
    for (name, text) in files::all("probes") {
        let document = parse_any("run.yaml", &text, &[]).unwrap_or_else(|p| panic!("{name}\n{p}"));
        let rendered = document.render();
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("rendered-probe-{name}"), rendered);
        });
        let again = parse_any("again.yaml", &rendered, &[]);
        let again = again.unwrap_or_else(|p| panic!("{name}\n{p}"));
        assert_eq!(again.render(), rendered, "{name}");
    }
}

#[test]
fn types_hold_what_the_file_says() {
    // Nothing of the settled file is lost in the types, and the types add nothing.
    for (name, text) in files::all("good") {
        let document = parse("run.yaml", &text, &[]).unwrap();
        let typed = serde_json::to_value(&document.config).unwrap();
        assert_eq!(without_nulls(&typed), without_nulls(document.settled()), "{name}");
    }
    for (name, text) in files::all("probes") {
        let document = parse_any("run.yaml", &text, &[]).unwrap();
        let AnyDocument::Ecd(probe) = &document else { panic!("{name} is no probe") };
        let typed = serde_json::to_value(&probe.config).unwrap();
        assert_eq!(without_nulls(&typed), without_nulls(document.settled()), "{name}");
    }
}

/// Numbers as floats and absent keys absent: the two spellings that types cannot tell apart.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[test]
fn defaults_are_filled() {
    let config = config(TEXT);
    let it = generation(&config);
    assert!(!it.do_sample);
    assert_eq!((it.temperature, it.top_k), (None, None));
    assert_eq!(config.input().column.as_deref(), Some("q"));
    assert_eq!(config.output().column(), "a");
    assert_eq!(config.random_seed, 42);
    assert_eq!(config.prompt.chat_template, ChatTemplate::Auto);
    assert_eq!(config.prompt.overflow, Overflow::Error);
    let Split::Random { probabilities } = config.preprocessing.split else { panic!() };
    assert_eq!(format!("{probabilities:?}"), "[0.7, 0.1, 0.2]");
    let evaluation = config.trainer.evaluation();
    assert_eq!(evaluation.validation_field.as_deref(), Some("a"));
    assert_eq!(evaluation.validation_metric.as_deref(), Some("loss"));
}

#[test]
fn sampling_defaults_follow_ludwig() {
    let config = config(&format!("{TEXT}generation: {{do_sample: true}}\n"));
    let it = generation(&config);
    assert_eq!((it.temperature, it.top_k, it.top_p), (Some(0.1), Some(50), Some(1.0)));
    assert_eq!((it.min_p, it.typical_p, it.seed), (Some(0.0), Some(1.0), None));
    assert_eq!(config.sampling_seed(), 42);
}

#[test]
fn everything_written_arrives() {
    let config = file("sampled-text");
    let it = generation(&config);
    assert_eq!(it.temperature, Some(0.7));
    assert_eq!(it.stop.as_deref(), Some(&["\n\n".to_owned(), "###".to_owned()][..]));
    assert_eq!(it.eos_token_id.as_ref().unwrap().as_slice(), [2, 0]);
    assert_eq!(it.bad_words_ids, Some(vec![vec![1, 2], vec![3]]));
    assert_eq!(config.sampling_seed(), 3);
    assert_eq!(config.ludwig_version.as_deref(), Some("0.10"));
    assert_eq!(config.output().column(), "reply");
    assert_eq!(config.prompt.chat_template, ChatTemplate::Always);
    assert_eq!(config.prompt.overflow, Overflow::Drop);
    assert_eq!(config.preprocessing.split, Split::Fixed { column: "split".to_owned() });
    assert_eq!(config.device, "cuda:1");
}

#[test]
fn labels_are_scored_unless_rules_are_given() {
    let scored = file("scored-class");
    let OutputFeature::Category(output) = scored.output() else { panic!() };
    let decoder = output.decoder.extractor();
    assert_eq!(decoder.choose, Choose::Score);
    assert_eq!(decoder.label_score, Some(LabelScore::Calibrated));
    assert!(scored.generation.is_none());
    assert_eq!(scored.trainer.evaluation().eval_batch_size, BatchSize::Rows(8));
    assert_eq!(scored.prompt.overflow, Overflow::Truncate { side: Side::Left });
    // Labels keep their spelling, whatever YAML would make of them.
    assert_eq!(output.preprocessing.vocab.as_ref().unwrap(), &["0", "1", "2", "yes", "3.5"]);

    let ruled = file("zero-shot-class");
    let OutputFeature::Category(output) = ruled.output() else { panic!() };
    let decoder = output.decoder.extractor();
    assert_eq!(decoder.choose, Choose::Generate);
    assert_eq!(decoder.label_score, None);
    assert_eq!(decoder.fallback_label.as_deref(), Some("neutral"));
    let rules = decoder.rules.as_ref().unwrap();
    assert_eq!(rules.keys().collect::<Vec<_>>(), ["positive", "neutral", "negative"]);
    assert_eq!(rules["neutral"].kind, MatchKind::Regex);
    assert!(ruled.generation.is_some());
}

#[test]
fn the_guides_examples_are_fine() {
    const AROUND: &str = "model_type: llm\nbase_model: m\ninput_features: [{name: review}]\n\
                          output_features: [{name: label, type: category}]\n";
    let guides = [
        include_str!("../../../../docs/guide/examples.md"),
        include_str!("../../../../docs/guide/documents.md"),
    ];
    let blocks = |guide: &'static str| guide.split("```yaml\n").skip(1);
    let blocks: Vec<&str> =
        guides.into_iter().flat_map(blocks).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 3);
    for block in blocks {
        let config = config(&format!("{AROUND}{block}"));
        assert!(config.prompt.retrieval.is_some(), "{block}");
    }
}

#[test]
fn examples_are_what_the_file_says() {
    let drawn = file("few-shot-random").prompt.retrieval.unwrap();
    assert_eq!((drawn.kind, drawn.k), (RetrievalKind::Random, Some(3)));
    assert_eq!((drawn.order, drawn.balance), (None, Some(false)));
    assert_eq!((drawn.show, drawn.over_budget), (ShowExamples::Context, OverBudget::Fewer));
    let found = file("few-shot-bm25").prompt.retrieval.unwrap();
    assert_eq!((found.kind, found.order), (RetrievalKind::Bm25, Some(ExampleOrder::SimilarFirst)));
    assert_eq!((found.duplicates, found.max_tokens), (Some(Duplicates::Skip), Some(600)));
    let given = file("few-shot-fixed").prompt.retrieval.unwrap();
    let examples = given.examples.unwrap();
    assert_eq!((examples.len(), &examples[1]["label"][..]), (2, "bad"));
    // What is not drawn has no number, and turns have no separator.
    assert_eq!((given.k, given.balance, given.separator), (None, None, None));
}

#[test]
fn passages_are_what_the_file_says() {
    let found = file("passages").prompt.retrieval.unwrap();
    assert_eq!((found.kind, found.k), (RetrievalKind::Bm25, Some(3)));
    assert_eq!(found.corpus.as_deref(), Some("corpora/manual"));
    // What only rows have is none.
    assert_eq!((found.balance, found.diversity, found.duplicates), (None, None, None));
    assert_eq!(found.order, Some(ExampleOrder::SimilarFirst));
}

#[test]
fn max_new_tokens_follows_ludwigs_rule_without_its_slip() {
    let with = |more: &str| config(&format!("{TEXT}{more}"));
    assert_eq!(with("").max_new_tokens(4096), 2048);
    // Ludwig takes a written 32 for an absent value.
    assert_eq!(with("generation: {max_new_tokens: 32}").max_new_tokens(4096), 32);
    assert_eq!(
        with("generation: {max_new_tokens: 32}\npreprocessing: {global_max_sequence_length: 512}")
            .max_new_tokens(4096),
        32
    );
    let global = with("preprocessing: {global_max_sequence_length: 512}");
    assert_eq!(global.max_new_tokens(4096), 512);
    let output =
        TEXT.replace("type: text}", "type: text, preprocessing: {max_sequence_length: 8}}");
    assert_eq!(config(&output).max_new_tokens(4096), 32);
    let output = output.replace("length: 8", "length: 100");
    assert_eq!(config(&output).max_new_tokens(4096), 100);
}

fn finetune(config: &RunConfig) -> &Finetune {
    config.trainer.finetune().unwrap()
}

#[test]
fn fine_tuning_defaults_suit_language_models() {
    let lora = file("finetune-lora");
    let it = finetune(&lora);
    assert_eq!(it.learning_rate.rate(true).to_bits(), 2e-4_f64.to_bits());
    assert_eq!(it.length, Length::Epochs { epochs: 3 });
    let curve = &it.learning_rate_scheduler;
    assert!(matches!(curve.decay, Decay::Cosine { t_0: None, .. }), "{curve:?}");
    assert_eq!(format!("{:?}", curve.warmup.unwrap().warmup_fraction), "0.03");
    assert!(matches!(it.optimizer, Optimizer::Adamw { .. }), "{:?}", it.optimizer);
    assert_eq!(it.gradient_clipping, GradientClipping::GlobalNorm { clipglobalnorm: 0.5 });
    assert_eq!((it.patience(), it.soup), (Some(5), None));
    assert_eq!(it.checkpoints(), Checkpoints::PerEpoch(NonZeroUsize::MIN));
    let Some(Adapter::Lora(adapter)) = &lora.adapter else { panic!() };
    let LoraStart::New(adapter) = &adapter.start else { panic!("{adapter:?}") };
    assert_eq!(format!("{} {} {}", adapter.r, adapter.alpha, adapter.dropout), "8 16 0");
    assert_eq!(adapter.target_modules, None);
    let full = config(&format!("{TEXT}trainer: finetune\n"));
    assert_eq!(finetune(&full).learning_rate.rate(false).to_bits(), 2e-5_f64.to_bits());
}

#[test]
fn fine_tuning_is_what_the_file_says() {
    let full = file("finetune-in-full");
    let it = finetune(&full);
    assert_eq!(it.length, Length::Steps { train_steps: 200 });
    assert_eq!(it.checkpoints(), Checkpoints::Every(NonZeroUsize::new(20).unwrap()));
    assert_eq!(it.patience(), None);
    assert_eq!(it.batches(1), Batches { batch_size: 4, accumulation: 4 });
    assert_eq!(it.gradient_clipping, GradientClipping::Value { clipvalue: 1.0 });
    assert_eq!(full.neftune_noise_alpha().to_bits(), 5.0_f64.to_bits());
    let class = file("finetune-class");
    let Some(Adapter::Lora(adapter)) = &class.adapter else { panic!() };
    let LoraStart::New(adapter) = &adapter.start else { panic!("{adapter:?}") };
    assert_eq!(adapter.target_modules, Some(TargetModules::Pattern("all-linear".to_owned())));
    // The order of patterns counts: the first that fits holds.
    assert_eq!(adapter.rank_pattern.get_index(1).unwrap().0, "layers\\.0\\.mlp\\..*");
    let conversations = file("finetune-conversations");
    assert_eq!(conversations.prompt.learn, Some(LearntTurns::All));
    let Some(Adapter::Lora(adapter)) = &conversations.adapter else { panic!() };
    assert!(matches!(adapter.start, LoraStart::Trained { .. }), "{adapter:?}");
}

#[test]
fn what_chooses_the_best_model_follows_from_the_metric() {
    let judged = |said: &str| {
        let config = config(&format!("{TEXT}trainer: {{type: finetune{said}}}\n"));
        let it = finetune(&config);
        (it.judged_by().to_owned(), it.predict_with_generate)
    };
    for (said, metric, answers) in [
        ("", "loss", false),
        (", validation_metric: next_token_perplexity", "perplexity", false),
        (", validation_metric: rougeL", "rougeL", true),
        (", predict_with_generate: true", "loss", true),
    ] {
        assert_eq!(judged(said), (metric.to_owned(), Some(answers)), "{said}");
    }
    let class = file("finetune-answers");
    assert_eq!(
        (finetune(&class).judged_by(), finetune(&class).evaluated_rows()),
        ("accuracy", Some(32))
    );
    assert_eq!(finetune(&file("finetune-class")).judged_by(), "loss");
    assert_eq!(judged(", skip_all_evaluation: true"), ("loss".to_owned(), None));
}

#[test]
fn rows_per_update_do_not_depend_on_memory() {
    for (said, fits, want) in [
        ("", 9, (1, 1)),
        ("batch_size: 3", 9, (3, 1)),
        ("batch_size: auto", 9, (9, 1)),
        ("batch_size: auto, max_batch_size: 4", 9, (4, 1)),
        ("batch_size: auto, effective_batch_size: 12", 9, (6, 2)),
        ("batch_size: auto, effective_batch_size: 12", 0, (1, 12)),
        ("batch_size: auto, gradient_accumulation_steps: 5", 9, (9, 5)),
        ("effective_batch_size: 12, gradient_accumulation_steps: 3", 1, (4, 3)),
        ("effective_batch_size: 12, gradient_accumulation_steps: 3, batch_size: auto", 1, (4, 3)),
        ("batch_size: 2, effective_batch_size: 12", 9, (2, 6)),
    ] {
        let config = config(&format!("{TEXT}trainer: {{type: finetune, {said}}}\n"));
        let (batch_size, accumulation) = want;
        assert_eq!(finetune(&config).batches(fits), Batches { batch_size, accumulation }, "{said}");
    }
}

#[test]
fn overrides_change_make_and_remove_keys() {
    let with = |sets: &[&str]| {
        let sets: Vec<Override> = sets.iter().map(|set| Override::new(*set)).collect();
        parse("run.yaml", TEXT, &sets).unwrap_or_else(|problems| panic!("{problems}")).config
    };
    assert_eq!(with(&["base_model=other"]).base_model, "other");
    assert_eq!(generation(&with(&["generation.max_new_tokens=5"])).max_new_tokens, Some(5));
    assert_eq!(with(&["input_features.0.name=text"]).input().name, "text");
    assert_eq!(with(&["prompt={task: Say why.}"]).prompt.task.as_deref(), Some("Say why."));
    let split = with(&["preprocessing.split=fixed", "preprocessing.split.column=part"]);
    assert_eq!(split.preprocessing.split, Split::Fixed { column: "part".to_owned() });
    let twice = with(&["generation.max_new_tokens=5", "generation.max_new_tokens="]);
    assert_eq!(generation(&twice).max_new_tokens, None);
    let labels = with(&[
        "output_features=[{name: l, type: category}]",
        "output_features.0.decoder.match.\"a.b\"={type: contains, value: x}",
    ]);
    let OutputFeature::Category(output) = labels.output() else { panic!() };
    assert!(output.decoder.extractor().rules.as_ref().unwrap().contains_key("a.b"));
}

#[test]
fn files_may_begin_with_a_byte_order_mark_and_end_lines_as_windows_does() {
    let windows = format!("\u{feff}{}", TEXT.replace('\n', "\r\n"));
    assert_eq!(config(&windows), config(TEXT));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.yaml");
    let utf16: Vec<u8> = "\u{feff}a: 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, utf16).unwrap();
    let problems = fidelio_config::load(&path, &[]).unwrap_err();
    assert!(problems.to_string().contains("UTF-16"), "{problems}");
    std::fs::write(&path, TEXT).unwrap();
    assert_eq!(fidelio_config::load(&path, &[]).unwrap().config, config(TEXT));
}

#[test]
fn later_checks_report_like_this_crate() {
    let text = format!("{TEXT}prompt:\n  template: |\n    Say\n    {{q}} {{x}}\n");
    let document = parse("run.yaml", &text, &[]).unwrap();
    let at = document.config.prompt.template.as_deref().unwrap().find("{x}").unwrap();
    let problem = document.problem_within(
        fidelio_config::Kind::Missing,
        "prompt.template",
        at..at + 3,
        "no column `x`",
    );
    let said = document.problems(vec![problem]).to_string();
    insta::assert_snapshot!(said, @r"
    error[C007]: no column `x`
     ┌─ run.yaml:8:9
    8│     {q} {x}
     │         ^^^

    1 problem in run.yaml
    ");
}
