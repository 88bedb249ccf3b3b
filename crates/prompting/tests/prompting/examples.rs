//! Rows with examples: in the text, as turns, and fewer where there is no room.

use fidelio_prompting::{
    Budget, ChatUse, Example, ExampleBudget, Layout, LayoutSpec, Ledger, Outcome, Overflow,
    PromptError, Purpose, Rendered, Renderer, Row, Rules, ShowExamples, Side, Source,
    SpecialTokens, Turns,
};
use serde_json::{Map, Value, json};

use crate::renderer::{CHATML, GENERATION, HEADERS, INST, chat, decode, learnt, vocabulary};

fn shots() -> Vec<Map<String, Value>> {
    let shot = |mail: &str, label: &str| {
        json!({ "mail": mail, "label": label }).as_object().unwrap().clone()
    };
    vec![shot("Lunch at one?", "ham"), shot("Win now", "spam"), shot("See you there", "ham")]
}

fn in_text() -> ShowExamples {
    ShowExamples::InText { format: None, separator: "\n\n".to_owned() }
}

fn source(template: &str, examples: ShowExamples) -> Source {
    let spec = LayoutSpec {
        template: Some(template.to_owned()),
        input: "mail".to_owned(),
        output: Some("label".to_owned()),
        examples: Some(examples),
        ..LayoutSpec::default()
    };
    Source::Layout(Layout::new(&spec, &["mail", "label"].map(String::from)).unwrap())
}

const TEMPLATE: &str = "{__context__}\n\nMail: {mail}\nLabel:\n";

fn renderer(rules: Rules) -> Renderer {
    Renderer::new(source(TEMPLATE, in_text()), rules, vocabulary(), None).unwrap()
}

fn try_render(
    renderer: &Renderer,
    shots: &[Map<String, Value>],
    purpose: Purpose,
) -> Result<Outcome, PromptError> {
    let cells = json!({ "mail": "You have won a prize", "label": "spam" });
    let ranks = [2, 0, 1];
    let examples: Vec<Example<'_>> = shots
        .iter()
        .enumerate()
        .map(|(number, cells)| Example { number, cells, rank: ranks[number] })
        .collect();
    let row = Row { examples: Some(&examples), ..Row::new(7, cells.as_object().unwrap()) };
    renderer.render(&row, purpose)
}

fn render(renderer: &Renderer, shots: &[Map<String, Value>], purpose: Purpose) -> Rendered {
    try_render(renderer, shots, purpose).unwrap().kept().unwrap()
}

fn with_room(most: Option<usize>, context: Option<usize>, overflow: Overflow) -> Rules {
    let examples = ExampleBudget { most, fewer: true };
    Rules {
        budget: Budget { context, examples, overflow, ..Budget::default() },
        ..Rules::default()
    }
}

#[test]
fn examples_stand_in_the_text_as_the_row_does() {
    let row = render(&renderer(Rules::default()), &shots()[..2], Purpose::Train);
    assert_eq!(
        row.text,
        "Mail: Lunch at one?\nLabel:\nham\n\nMail: Win now\nLabel:\nspam\n\n\
         Mail: You have won a prize\nLabel:\nspam"
    );
    assert_eq!(learnt(&row), "spam</s>", "examples are not learnt");
    let examples = row.examples.unwrap();
    assert_eq!((examples.shown, examples.left_out), (vec![0, 1], 0));
}

#[test]
fn examples_may_be_earlier_turns_of_the_chat() {
    for template in [CHATML, HEADERS, INST, GENERATION] {
        let turns = source("Mail: {mail}", ShowExamples::AsTurns);
        // Whatever is learnt of conversations: examples are given.
        let rules = Rules { turns: Turns::All, ..Rules::default() };
        let renderer = Renderer::new(turns, rules, vocabulary(), chat(template)).unwrap();
        let row = render(&renderer, &shots()[..2], Purpose::Train);
        let places = ["Mail: Lunch at one?", "ham", "Mail: Win now", "spam", "Mail: You have won"]
            .map(|said| row.text.find(said).unwrap_or_else(|| panic!("`{said}`: {}", row.text)));
        assert!(places.is_sorted(), "{}", row.text);
        assert!(learnt(&row).contains("spam") && !learnt(&row).contains("ham"), "{}", learnt(&row));
        assert_eq!(row.learn.iter().filter(|it| **it).count(), row.ids.len() - row.prompt_len);
        let field = renderer.fields().iter().position(|field| field == "__context__");
        let of_examples = row.ids.iter().zip(&row.field_of).filter(|(_, of)| **of == field);
        let text = decode(&of_examples.map(|(id, _)| *id).collect::<Vec<_>>());
        if row.fields_known {
            assert_eq!(text.replace(' ', ""), "Mail:Lunchatone?hamMail:Winnowspam");
        }
    }
}

#[test]
fn turns_need_the_chat_template() {
    let turns = || source("Mail: {mail}", ShowExamples::AsTurns);
    let error = Renderer::new(turns(), Rules::default(), vocabulary(), None).unwrap_err();
    assert!(matches!(error, PromptError::NoChatTemplate { .. }), "{error}");
    let never = Rules { chat: ChatUse::Never, ..Rules::default() };
    let error = Renderer::new(turns(), never, vocabulary(), chat(CHATML)).unwrap_err();
    assert!(matches!(error, PromptError::Rule { rule: "chat", .. }), "{error}");
}

#[test]
fn the_last_ranked_examples_are_left_out_where_there_is_no_room() {
    let all = render(&renderer(Rules::default()), &shots(), Purpose::Answer);
    let tokens = all.examples.as_ref().unwrap().tokens;
    let bare = render(&renderer(Rules::default()), &[], Purpose::Answer);
    assert_eq!(tokens, all.ids.len() - bare.ids.len());

    let by_own_limit = with_room(Some(tokens - 1), None, Overflow::Error);
    let by_context = with_room(None, Some(all.ids.len() - 1), Overflow::Error);
    for rules in [by_own_limit, by_context] {
        let row = render(&renderer(rules), &shots(), Purpose::Answer);
        let examples = row.examples.as_ref().unwrap();
        assert_eq!((&examples.shown[..], examples.left_out), (&[1, 2][..], 1));
        assert!(!row.text.contains("Lunch") && row.text.contains("Win now"), "{}", row.text);
        assert_eq!(row.read, all.ids.len());
        let mut ledger = Ledger::default();
        ledger.count(&Outcome::Kept(row.clone()));
        assert!(ledger.balances());
        assert_eq!((ledger.rows_with_fewer_examples, ledger.rows_cut), (1, 0));
        assert_eq!(ledger.cut, all.ids.len() - row.ids.len());
        assert_eq!(ledger.left_out, ledger.cut);
    }
}

#[test]
fn text_is_cut_only_when_no_example_is_left() {
    let bare = render(&renderer(Rules::default()), &[], Purpose::Answer).ids.len();
    let truncate = || Overflow::Truncate { side: Side::Right, fields: None };
    let fits =
        render(&renderer(with_room(None, Some(bare), truncate())), &shots(), Purpose::Answer);
    assert_eq!((fits.examples.unwrap().left_out, fits.cuts), (3, vec![]));
    let cut =
        render(&renderer(with_room(None, Some(bare - 2), truncate())), &shots(), Purpose::Answer);
    assert_eq!(cut.examples.unwrap().left_out, 3);
    assert_eq!(cut.cuts.len(), 1);
    assert_eq!(cut.cuts[0].field, "mail");
}

#[test]
fn too_many_examples_are_an_error_if_that_is_wanted() {
    let rules = |most, context, overflow| {
        let mut rules = with_room(most, context, overflow);
        rules.budget.examples.fewer = false;
        rules
    };
    let error =
        try_render(&renderer(rules(Some(5), None, Overflow::Error)), &shots(), Purpose::Answer)
            .unwrap_err();
    assert!(matches!(error, PromptError::ExamplesTooLong { row: 7, budget: 5, .. }), "{error}");
    let all = render(&renderer(Rules::default()), &shots(), Purpose::Answer).ids.len();
    let long = renderer(rules(None, Some(all - 1), Overflow::Error));
    let error = try_render(&long, &shots(), Purpose::Answer).unwrap_err();
    assert!(matches!(error, PromptError::PromptTooLong { .. }), "{error}");
    // Examples are never cut, not even where text is.
    let truncate = Overflow::Truncate { side: Side::Right, fields: None };
    let cut = render(&renderer(rules(None, Some(all - 1), truncate)), &shots(), Purpose::Answer);
    assert_eq!((cut.examples.unwrap().left_out, &cut.cuts[0].field[..]), (0, "mail"));
}

#[test]
fn what_was_forgotten_or_spells_a_control_token_is_an_error() {
    let cells = json!({ "mail": "x", "label": "spam" });
    let row = Row::new(7, cells.as_object().unwrap());
    let turns = source("Mail: {mail}", ShowExamples::AsTurns);
    let turns = Renderer::new(turns, Rules::default(), vocabulary(), chat(CHATML)).unwrap();
    for renderer in [&renderer(Rules::default()), &turns] {
        let error = renderer.render(&row, Purpose::Answer).unwrap_err();
        assert!(matches!(error, PromptError::MissingExamples { row: 7 }), "{error}");
        let mut shots = shots();
        shots[1]["mail"] = json!("bye</s>");
        let error = try_render(renderer, &shots, Purpose::Answer).unwrap_err();
        let named = matches!(&error, PromptError::SpecialTokenInData { row: 7, field, .. }
            if field == "__context__");
        assert!(named, "{error}");
    }
    let rules = Rules { special_tokens_in_data: SpecialTokens::Escape, ..Rules::default() };
    let mut odd = shots();
    odd[1]["mail"] = json!("bye</s>");
    let eos = vocabulary().eos()[0];
    let row = render(&renderer(rules), &odd, Purpose::Answer);
    assert!(row.text.contains("bye</s>") && !row.ids.contains(&eos), "{}", row.text);
}

#[test]
fn the_format_of_examples_is_part_of_what_a_run_is_known_by() {
    let of = |examples| {
        let rules = Rules::default();
        Renderer::new(source(TEMPLATE, examples), rules, vocabulary(), None).unwrap().fingerprint()
    };
    let lines = ShowExamples::InText {
        format: Some("{mail}: {label}".to_owned()),
        separator: "\n".to_owned(),
    };
    assert_ne!(of(in_text()).source, of(lines).source);
}

fn passages(format: Option<&str>) -> ShowExamples {
    ShowExamples::Passages { format: format.map(str::to_owned), separator: "\n---\n".to_owned() }
}

fn cited() -> Vec<Map<String, Value>> {
    let passage = |text: &str, source: &str| {
        json!({ "__passage__": text, "__source__": source }).as_object().unwrap().clone()
    };
    vec![
        passage("Prizes are {spam}.", "a.md, line 3"),
        passage("Lunch is at one.", "b.pdf, page 2"),
        passage("Nothing else.", "c.txt, line 1"),
    ]
}

#[test]
fn passages_show_their_text_and_where_it_comes_from() {
    let shown = |format: Option<&str>| {
        let source = source(TEMPLATE, passages(format));
        let renderer = Renderer::new(source, Rules::default(), vocabulary(), None).unwrap();
        render(&renderer, &cited()[..2], Purpose::Answer).text
    };
    assert_eq!(
        shown(None),
        "[a.md, line 3]\nPrizes are {spam}.\n---\n[b.pdf, page 2]\nLunch is at one.\n\n\
         Mail: You have won a prize\nLabel:\n"
    );
    assert!(
        shown(Some("{__passage__} ({__source__})"))
            .starts_with("Prizes are {spam}. (a.md, line 3)")
    );
}

/// There are fewer of them before anything is cut.
#[test]
fn passages_keep_the_budget_of_examples() {
    let source = source(TEMPLATE, passages(None));
    let all = Renderer::new(source.clone(), Rules::default(), vocabulary(), None).unwrap();
    let whole = render(&all, &cited(), Purpose::Answer).examples.unwrap().tokens;
    let budget = ExampleBudget { most: Some(whole - 1), fewer: true };
    let rules =
        Rules { budget: Budget { examples: budget, ..Budget::default() }, ..Rules::default() };
    let fewer = Renderer::new(source, rules, vocabulary(), None).unwrap();
    let shown = render(&fewer, &cited(), Purpose::Answer).examples.unwrap();
    // The first has the greatest rank.
    assert_eq!((shown.shown, shown.left_out), (vec![1, 2], 1));
    assert!(shown.tokens < whole);
}

#[test]
fn a_format_of_passages_is_checked() {
    let wrong = |format: &str| {
        let spec = LayoutSpec {
            template: Some(TEMPLATE.to_owned()),
            examples: Some(passages(Some(format))),
            input: "mail".to_owned(),
            ..LayoutSpec::default()
        };
        let found = Layout::new(&spec, &["mail".to_owned()]).unwrap_err();
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert!(wrong("{__source__}").contains("without its text"));
    assert!(wrong("{__passage__} {mail}").contains("`mail` is nothing that a passage has"));
    assert!(wrong("{__passage__} {__task__}").contains("__task__"));
    assert!(wrong("{__passage__:.2f}").contains(".2f"));
}

#[test]
fn a_task_with_passages_has_a_layout() {
    let spec = LayoutSpec {
        task: Some("Answer.".to_owned()),
        examples: Some(passages(None)),
        input: "mail".to_owned(),
        ..LayoutSpec::default()
    };
    let layout = Layout::new(&spec, &["mail".to_owned()]).unwrap();
    assert!(layout.template().source().contains("{__context__}"));
    assert!(!layout.template().source().contains("examples"));
}
