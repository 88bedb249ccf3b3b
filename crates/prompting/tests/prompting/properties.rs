//! What holds for any template and any text.

use fidelio_prompting::{ChatTemplate, Clock, Layout, LayoutSpec, Row, SpecialTexts, Template};
use proptest::prelude::*;

fn spec(template: String) -> LayoutSpec {
    LayoutSpec { template: Some(template), input: "a".to_owned(), ..LayoutSpec::default() }
}

proptest! {
    #[test]
    fn no_template_panics(source in ".{0,60}|[{}a!:.f2_ ]{0,20}") {
        if let Err(problems) = Template::parse(&source) {
            for problem in problems {
                prop_assert!(source.get(problem.range.clone()).is_some(), "{problem:?}");
            }
        }
        let cells = serde_json::json!({"a": 1.5});
        let row = Row::new(0, cells.as_object().unwrap());
        if let Ok(layout) = Layout::new(&spec(source), &["a".to_owned()]) {
            let _ = layout.render(&row);
        }
    }

    #[test]
    fn escaped_text_renders_to_itself(text in "[{}a ]{0,20}|.{0,40}", value in ".{0,20}") {
        let layout = Layout::new(&spec(Template::escape(&text) + "{a}"), &["a".to_owned()]).unwrap();
        let cells = serde_json::json!({"a": value});
        let row = Row::new(0, cells.as_object().unwrap());
        prop_assert_eq!(layout.render(&row).unwrap(), text + &value);
    }

    #[test]
    fn no_chat_template_panics(source in "([{}%# -]|generation|endgeneration|raw|set|a|if|\\||'){0,20}") {
        let _ = ChatTemplate::new(&source, SpecialTexts::default(), Clock::Local);
    }
}
