//! Any text is answered without a panic, and what is sound survives printing.

use fidelio_config::{Override, parse};
use proptest::prelude::*;

/// Pieces that make YAML, run files, and trouble.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "model_type: llm",
            "base_model: m",
            "prompt:",
            "template: ",
            "{q}",
            "{{",
            "}",
            "[",
            "]",
            "- ",
            "\n",
            "\n  ",
            "\n\t",
            ": ",
            "&a",
            "*a",
            "<<: ",
            "|\n",
            ">-\n",
            "'",
            "\"",
            "#",
            "---",
            "...",
            "!!str ",
            "!x ",
            "? ",
            "%YAML 1.2\n",
            "generation:",
            "do_sample: true",
            "temperature: ",
            "1e309",
            ".nan",
            "-0",
            "output_features: ",
            "input_features: ",
            "{name: a, type: text}",
            "\u{feff}",
            "\r\n",
            "\\",
            "é",
            "𝄞",
            "trainer: none",
            "adapter: lora",
            "trainer: {type: finetune}",
            "null",
            "~",
            "defaults: {text: ",
        ])
        .prop_map(str::to_owned),
        ".{0,6}",
        any::<i64>().prop_map(|number| number.to_string()),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(piece(), 0..40).prop_map(|pieces| pieces.concat()),
        ".{0,200}"
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in text(), sets in prop::collection::vec(text(), 0..3)) {
        let sets: Vec<Override> = sets.into_iter().map(Override::new).collect();
        match parse("run.yaml", &text, &sets) {
            Ok(document) => { parse("again", &document.render(), &[]).unwrap(); }
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                prop_assert!(!problems.to_string().is_empty());
            }
        }
    }

    #[test]
    fn texts_and_numbers_survive_printing(
        template in "(?s).{0,40}",
        task in "(?s).{1,60}",
        label in "[^.\"=]{1,12}",
        lines in prop::collection::vec("[ -~é]{0,12}", 0..6),
        temperature in 1e-6_f64..1e6,
        seed in 0_i64..i64::MAX,
    ) {
        let quote = |text: &str| serde_json::to_string(text).unwrap();
        let template = format!("{}{{__sample__}}{{__task__}}", template.replace(['{', '}'], ""));
        let stop = lines.join("\n") + "!";
        let text = format!(
            "model_type: llm\nbase_model: m\nrandom_seed: {seed}\n\
             input_features: [{{name: q}}]\noutput_features: [{{name: {}, type: text}}]\n\
             prompt: {{template: {}, task: {}}}\n\
             generation: {{do_sample: true, temperature: {temperature:?}, stop: [{}]}}\n",
            quote(&format!("x{label}")), quote(&template), quote(&task), quote(&stop),
        );
        // JSON's escapes for characters beyond the basic plane are pairs, which YAML lacks.
        let document = match parse("run.yaml", &text, &[]) {
            Ok(document) => document,
            Err(problems) => return Err(TestCaseError::reject(problems.to_string())),
        };
        let rendered = document.render();
        let again = parse("again.yaml", &rendered, &[])
            .map_err(|problems| TestCaseError::fail(format!("{problems}\n{rendered}")))?;
        prop_assert_eq!(&again.config, &document.config, "{}", rendered);
        prop_assert_eq!(again.config.prompt.template.as_deref(), Some(template.as_str()));
        prop_assert_eq!(again.config.prompt.task.as_deref(), Some(task.as_str()));
    }
}
