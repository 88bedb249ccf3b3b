//! Rows to tokens, over a tiny byte-level tokenizer.

use fidelio_prompting::{
    Bos, Boundary, Budget, ChatTemplate, ChatUse, Clock, Conversation, Layout, LayoutSpec, Ledger,
    Message, Outcome, Overflow, PromptError, Purpose, Question, Rendered, Renderer, Row, Rules,
    Side, Source, SpecialTokens, Turns, Vocabulary,
};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

pub(crate) const CHATML: &str = include_str!("fixtures/chatml.jinja");
pub(crate) const HEADERS: &str = include_str!("fixtures/headers.jinja");
pub(crate) const INST: &str = include_str!("fixtures/inst.jinja");
pub(crate) const GENERATION: &str = include_str!("fixtures/generation.jinja");

pub(crate) fn vocabulary() -> Vocabulary {
    let tokenizer: Tokenizer = include_str!("fixtures/tokenizer.json").parse().unwrap();
    let id = |text: &str| tokenizer.token_to_id(text).unwrap();
    let (bos, eos) = (id("<s>"), id("</s>"));
    Vocabulary::new(tokenizer, Some(bos), vec![eos]).unwrap()
}

pub(crate) fn id(text: &str) -> u32 {
    vocabulary().tokenizer().token_to_id(text).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "a model may have no chat template")]
pub(crate) fn chat(source: &str) -> Option<ChatTemplate> {
    Some(ChatTemplate::new(source, vocabulary().special_texts(), Clock::Local).unwrap())
}

fn mail_layout(template: &str) -> Source {
    let spec = LayoutSpec {
        template: Some(template.to_owned()),
        input: "mail".to_owned(),
        output: Some("label".to_owned()),
        ..LayoutSpec::default()
    };
    Source::Layout(Layout::new(&spec, &["mail", "note", "label"].map(String::from)).unwrap())
}

pub(crate) fn renderer(template: &str, rules: Rules, chat: Option<ChatTemplate>) -> Renderer {
    Renderer::new(mail_layout(template), rules, vocabulary(), chat).unwrap()
}

pub(crate) fn messages(rules: Rules, chat: Option<ChatTemplate>) -> Result<Renderer, PromptError> {
    let source = Source::Messages { column: "messages".to_owned(), output: None };
    Renderer::new(source, rules, vocabulary(), chat)
}

fn mail() -> Value {
    json!({"mail": "Win a prize quickly, or lose it now", "note": "click here", "label": "spam"})
}

pub(crate) fn render(
    renderer: &Renderer,
    cells: &Value,
    purpose: Purpose,
) -> Result<Outcome, PromptError> {
    renderer.render(&Row::new(3, cells.as_object().unwrap()), purpose)
}

pub(crate) fn kept(renderer: &Renderer, cells: &Value, purpose: Purpose) -> Rendered {
    render(renderer, cells, purpose).unwrap().kept().unwrap()
}

pub(crate) fn decode(ids: &[u32]) -> String {
    vocabulary().tokenizer().decode(ids, false).unwrap()
}

pub(crate) fn learnt(rendered: &Rendered) -> String {
    let ids = rendered.ids.iter().zip(&rendered.learn).filter(|(_, l)| **l).map(|(id, _)| *id);
    decode(&ids.collect::<Vec<_>>())
}

fn of_field(renderer: &Renderer, rendered: &Rendered, field: &str) -> String {
    let at = renderer.fields().iter().position(|f| f == field);
    let ids = rendered.ids.iter().zip(&rendered.field_of).filter(|(_, f)| **f == at);
    decode(&ids.map(|(id, _)| *id).collect::<Vec<_>>())
}

fn budget(context: usize, overflow: Overflow) -> Rules {
    let budget = Budget { context: Some(context), reserved: 6, overflow, ..Budget::default() };
    Rules { budget, ..Rules::default() }
}

#[test]
fn ids_are_those_of_jinja2_and_python_tokenizers() {
    let goldens: Value = serde_json::from_str(include_str!("fixtures/ids.json")).unwrap();
    for golden in goldens["chats"].as_array().unwrap() {
        let source = if golden["template"] == "chatml" { CHATML } else { HEADERS };
        let rules = Rules { bos: Bos::Never, ..Rules::default() };
        let renderer = messages(rules, chat(source)).unwrap();
        let talk = Conversation::from_cell(&golden["messages"]).unwrap();
        if golden["add_generation_prompt"] == true {
            let got = renderer.render_conversation(&talk, Purpose::Answer).unwrap().kept().unwrap();
            assert_eq!(json!(got.text), golden["text"]);
            assert_eq!(json!(got.ids), golden["ids"], "{}", golden["talk"]);
        } else if golden["talk"] == "answered" {
            let got = renderer.render_conversation(&talk, Purpose::Train).unwrap().kept().unwrap();
            let ids: Vec<u32> = serde_json::from_value(golden["ids"].clone()).unwrap();
            assert_eq!(got.ids, ids[..got.ids.len()]);
            assert!(golden["text"].as_str().unwrap()[got.text.len()..].trim().is_empty());
        }
    }
    for golden in goldens["plain"].as_array().unwrap() {
        let cells = json!({"mail": golden["text"], "note": "", "label": ""});
        let got = kept(&renderer("{mail}", Rules::default(), None), &cells, Purpose::Answer);
        assert_eq!(json!(got.ids), golden["ids"]);
    }
}

#[test]
fn the_answer_and_its_stop_are_learnt_and_nothing_else() {
    for (source, stop) in [(CHATML, "<|im_end|>"), (HEADERS, "<|turn|>"), (INST, "</s>")] {
        let renderer = renderer("Spam? {mail}", Rules::default(), chat(source));
        let row = kept(&renderer, &mail(), Purpose::Train);
        assert_eq!(learnt(&row).trim_start(), format!("spam{stop}"));
        assert!(renderer.stop_ids().contains(&id(stop)));
    }
    let plain = kept(&renderer("Spam? {mail}\n", Rules::default(), None), &mail(), Purpose::Train);
    assert_eq!(learnt(&plain), "spam</s>");
}

#[test]
fn training_begins_with_the_ids_of_the_prompt() {
    for chat in [chat(CHATML), chat(HEADERS), chat(INST), None] {
        let renderer = renderer("Spam? {mail}\n", Rules::default(), chat);
        let prompt = kept(&renderer, &mail(), Purpose::Answer);
        let row = kept(&renderer, &mail(), Purpose::Train);
        assert_eq!(row.ids[..row.prompt_len], prompt.ids);
        assert!(!prompt.learn.contains(&true));
    }
}

#[test]
fn every_token_names_its_field() {
    for chat in [chat(CHATML), chat(HEADERS), chat(INST), None] {
        let renderer = renderer("Spam? {mail}; {note}.\n", Rules::default(), chat);
        let row = kept(&renderer, &mail(), Purpose::Train);
        assert!(row.fields_known);
        assert_eq!(of_field(&renderer, &row, "mail").trim(), "Win a prize quickly, or lose it now");
        assert_eq!(of_field(&renderer, &row, "note").trim(), "click here");
        assert_eq!(of_field(&renderer, &row, "label").trim(), "spam");
    }
}

#[test]
fn a_template_that_looks_at_the_text_hides_the_fields() {
    let source = "{% for m in messages %}{{ m.content | length }} {{ m.content }}\n{% endfor %}";
    let renderer = renderer("{mail}", Rules::default(), chat(source));
    let row = kept(&renderer, &mail(), Purpose::Answer);
    assert!(!row.fields_known && row.field_of.iter().all(Option::is_none));
    assert!(row.text.starts_with("35 Win"));
}

#[test]
fn bos_stands_once() {
    let bos = vocabulary().bos().unwrap();
    let count = |row: &Rendered| row.ids.iter().filter(|id| **id == bos).count();
    for (template, chat) in
        [("{mail}", None), ("<s>{mail}", None), ("{mail}", chat(HEADERS)), ("{mail}", chat(CHATML))]
    {
        let row = kept(&renderer(template, Rules::default(), chat), &mail(), Purpose::Answer);
        assert_eq!((count(&row), row.ids[0]), (1, bos), "{template}");
    }
    let never = Rules { bos: Bos::Never, ..Rules::default() };
    assert_eq!(count(&kept(&renderer("{mail}", never, None), &mail(), Purpose::Answer)), 0);
}

#[test]
fn a_second_bos_is_an_error_with_both_places() {
    for (template, chat) in
        [("<s>{mail}<s>", None), ("<s>{mail}", chat("{{ bos_token }}{{ messages[0].content }}"))]
    {
        let problem = render(&renderer(template, Rules::default(), chat), &mail(), Purpose::Answer);
        let Err(PromptError::SecondBos { first: 0, second, .. }) = problem else {
            panic!("{problem:?}")
        };
        assert!(second > 0);
    }
}

#[test]
fn data_does_not_become_control_tokens() {
    let cells = json!({"mail": "a<|im_end|>b", "note": "", "label": "spam"});
    let end = id("<|im_end|>");
    let with = |rule, chat| {
        let rules = Rules { special_tokens_in_data: rule, ..Rules::default() };
        render(&renderer("{mail}\n", rules, chat), &cells, Purpose::Train)
    };
    let problem = with(SpecialTokens::Error, chat(HEADERS)).unwrap_err();
    let text = problem.to_string();
    assert!(
        text.contains("row 3") && text.contains("`mail`") && text.contains("<|im_end|>"),
        "{text}"
    );
    for chat in [chat(HEADERS), None] {
        let allowed = with(SpecialTokens::Allow, chat.clone()).unwrap().kept().unwrap();
        assert!(allowed.ids.contains(&end));
        let escaped = with(SpecialTokens::Escape, chat).unwrap().kept().unwrap();
        assert!(!escaped.ids.contains(&end));
        assert!(decode(&escaped.ids).contains("a<|im_end|>b"));
        assert_eq!(learnt(&escaped).trim_end_matches("<|turn|>").trim_end_matches("</s>"), "spam");
    }
}

#[test]
fn an_answer_with_a_control_token_is_an_error() {
    let cells = json!({"mail": "a", "note": "", "label": "spam</s>"});
    let problem = render(&renderer("{mail}\n", Rules::default(), None), &cells, Purpose::Train);
    assert!(
        matches!(problem, Err(PromptError::SpecialTokenInData { field, .. }) if field == "label")
    );
}

#[test]
fn a_merge_across_the_boundary_needs_a_rule() {
    // `capital` is one token, so a prompt ending in `cap` changes when the answer comes.
    let cells = json!({"mail": "The cap", "note": "", "label": "ital"});
    let problem = render(&renderer("{mail}", Rules::default(), None), &cells, Purpose::Train);
    assert!(matches!(problem, Err(PromptError::Boundary { row: 3, .. })), "{problem:?}");
    let rules = Rules { boundary: Boundary::Separate, ..Rules::default() };
    let renderer = renderer("{mail}", rules, None);
    let row = kept(&renderer, &cells, Purpose::Train);
    assert_eq!(row.ids[..row.prompt_len], kept(&renderer, &cells, Purpose::Answer).ids);
    assert_eq!(learnt(&row), "ital</s>");
}

#[test]
fn a_chat_template_that_changes_the_prompt_needs_a_rule() {
    let source = "{{ messages[0].content }}{% if add_generation_prompt %}<|start|><think>{% else %}\
                  <|start|>{{ messages[1].content }}<|turn|>{% endif %}";
    let problem =
        render(&renderer("{mail}", Rules::default(), chat(source)), &mail(), Purpose::Train);
    assert!(matches!(problem, Err(PromptError::PromptChanges { .. })), "{problem:?}");
    let rules = Rules { boundary: Boundary::Separate, ..Rules::default() };
    let row = kept(&renderer("{mail}", rules, chat(source)), &mail(), Purpose::Train);
    assert_eq!(learnt(&row), "spam<|turn|>");
    assert!(decode(&row.ids).contains("<think>spam"));
}

#[test]
fn empty_and_null_answers_are_errors() {
    for (label, what) in [(json!(" "), "empty"), (Value::Null, "null")] {
        let cells = json!({"mail": "a", "note": "", "label": label});
        let problem = render(&renderer("{mail}\n", Rules::default(), None), &cells, Purpose::Train);
        assert!(problem.unwrap_err().to_string().contains(what));
        assert!(
            render(&renderer("{mail}\n", Rules::default(), None), &cells, Purpose::Answer).is_ok()
        );
    }
}

#[test]
fn the_system_text_is_shown_or_refused() {
    let rules = Rules { system: Some("Be brief.".to_owned()), ..Rules::default() };
    let row = kept(&renderer("{mail}", rules.clone(), chat(CHATML)), &mail(), Purpose::Answer);
    assert!(row.text.contains("system\nBe brief.<|im_end|>"));
    let new = |chat| Renderer::new(mail_layout("{mail}"), rules.clone(), vocabulary(), chat);
    assert!(matches!(new(None), Err(PromptError::SystemUnused)));
    assert!(
        matches!(new(chat(INST)), Err(PromptError::ChatRefused { message, .. }) if message.starts_with("Only user"))
    );
    let ignoring = chat("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}");
    assert!(matches!(new(ignoring), Err(PromptError::SystemIgnored)));
}

#[test]
fn the_chat_template_is_used_as_the_rule_says() {
    let never = Rules { chat: ChatUse::Never, ..Rules::default() };
    assert_eq!(
        kept(&renderer("{mail}", never, chat(CHATML)), &mail(), Purpose::Answer).text,
        "Win a prize quickly, or lose it now"
    );
    let always = Rules { chat: ChatUse::Always, ..Rules::default() };
    let problem = Renderer::new(mail_layout("{mail}"), always, vocabulary(), None);
    assert!(matches!(problem, Err(PromptError::NoChatTemplate { .. })));
}

pub(crate) fn talk() -> Value {
    json!({"messages": [
        {"role": "user", "content": "The capital of France?"},
        {"role": "assistant", "content": "Paris."},
        {"role": "user", "content": "Of Norway?"},
        {"role": "assistant", "content": "Oslo."},
    ]})
}

#[test]
fn all_turns_of_a_messages_column_are_learnt_with_their_stops() {
    for (source, stop) in [(CHATML, "<|im_end|>"), (HEADERS, "<|turn|>"), (INST, "</s>")] {
        let row = kept(&messages(Rules::default(), chat(source)).unwrap(), &talk(), Purpose::Train);
        assert_eq!(learnt(&row).replace(' ', ""), format!("Paris.{stop}Oslo.{stop}"));
        let last = Rules { turns: Turns::Last, ..Rules::default() };
        let row = kept(&messages(last, chat(source)).unwrap(), &talk(), Purpose::Train);
        assert_eq!(learnt(&row).replace(' ', ""), format!("Oslo.{stop}"));
    }
}

#[test]
fn template_variables_reach_the_template() {
    let source = "{{ mood }} {{ messages[0].content }}";
    let mut rules = Rules::default();
    rules.template_variables.insert("mood".to_owned(), json!("glad"));
    let row = kept(&renderer("{note}", rules, chat(source)), &mail(), Purpose::Answer);
    assert_eq!(row.text, "glad click here");
}

#[test]
fn generation_blocks_say_what_is_learnt_and_the_stop_behind_is_learnt_too() {
    let renderer = messages(Rules::default(), chat(GENERATION)).unwrap();
    assert!(renderer.chat_template().unwrap().has_generation_blocks());
    let row = kept(&renderer, &talk(), Purpose::Train);
    assert_eq!(learnt(&row), "<think></think>Paris.<|turn|><think></think>Oslo.<|turn|>");
}

#[test]
fn a_messages_cell_may_be_text_and_its_answer_is_not_in_the_prompt() {
    let renderer = messages(Rules::default(), chat(CHATML)).unwrap();
    let text = json!({"messages": talk()["messages"].to_string()});
    let prompt = kept(&renderer, &text, Purpose::Answer);
    assert_eq!(prompt, kept(&renderer, &talk(), Purpose::Answer));
    assert!(prompt.text.ends_with("Of Norway?<|im_end|>\n<|im_start|>assistant\n"));
}

#[test]
fn wrong_messages_are_named() {
    let renderer = messages(Rules::default(), chat(CHATML)).unwrap();
    for (cell, part) in [
        (json!([]), "at least one"),
        (json!("[{]"), "not valid JSON"),
        (json!([{"content": "x"}]), "message 0 has no `role`"),
        (json!([{"role": "user", "content": 5}]), "message 0 has a `content`"),
    ] {
        let problem = render(&renderer, &json!({"messages": cell}), Purpose::Answer).unwrap_err();
        let source = std::error::Error::source(&problem).unwrap().to_string();
        assert!(problem.to_string().contains("row 3") && source.contains(part), "{source}");
    }
    let last = json!({"messages": [{"role": "user", "content": "x"}]});
    let problem = render(&renderer, &last, Purpose::Train).unwrap_err();
    assert!(matches!(problem, PromptError::LastMessage { role, .. } if role == "user"));
}

#[test]
fn a_prompt_that_is_too_long_is_an_error_or_dropped() {
    let error = renderer("Spam? {mail}\n", budget(12, Overflow::Error), None);
    let problem = render(&error, &mail(), Purpose::Train).unwrap_err();
    assert!(matches!(problem, PromptError::PromptTooLong { row: 3, budget: 6, .. }), "{problem}");
    let mut ledger = Ledger::default();
    let dropped = render(
        &renderer("Spam? {mail}\n", budget(12, Overflow::Drop), None),
        &mail(),
        Purpose::Train,
    );
    ledger.count(&dropped.unwrap());
    assert!(ledger.balances() && ledger.dropped > 12 - 6 && ledger.rows_dropped == 1);
}

#[test]
fn truncation_cuts_the_row_and_never_the_template() {
    for (side, cut) in [(Side::Right, "Win"), (Side::Left, "now")] {
        let overflow = Overflow::Truncate { side, fields: Some(vec!["mail".to_owned()]) };
        let full = kept(
            &renderer("Spam? {mail}; {note}.\n", Rules::default(), None),
            &mail(),
            Purpose::Train,
        );
        let context = full.prompt_len - 3 + 6;
        let renderer = renderer("Spam? {mail}; {note}.\n", budget(context, overflow), None);
        let outcome = render(&renderer, &mail(), Purpose::Train).unwrap();
        let mut ledger = Ledger::default();
        ledger.count(&outcome);
        assert!(ledger.balances() && ledger.cut >= 3 && ledger.rows_cut == 1, "{ledger:?}");
        let row = outcome.kept().unwrap();
        assert!(row.prompt_len <= context - 6);
        assert!(
            row.text.starts_with("Spam? ") && row.text.contains("; click here.\nspam"),
            "{}",
            row.text
        );
        assert!(row.text.contains(cut), "{}", row.text);
        assert_eq!((row.cuts.len(), row.cuts[0].side), (1, side));
        assert!(row.cuts[0].tokens_after < row.cuts[0].tokens_before);
    }
}

#[test]
fn a_field_keeps_to_its_own_budget() {
    let mut rules = budget(200, Overflow::Truncate { side: Side::Right, fields: None });
    rules.budget.fields.insert("mail".to_owned(), 2);
    let row = kept(&renderer("{mail}; {note}\n", rules.clone(), None), &mail(), Purpose::Answer);
    assert_eq!(row.cuts[0].tokens_after, 2);
    assert!(row.text.ends_with("; click here\n"));
    rules.budget.overflow = Overflow::Error;
    let problem = render(&renderer("{mail}\n", rules, None), &mail(), Purpose::Answer).unwrap_err();
    assert!(matches!(problem, PromptError::FieldTooLong { budget: 2, .. }));
}

#[test]
fn cuts_respect_characters() {
    let cells = json!({"mail": "漢字漢字漢字漢字", "note": "", "label": "spam"});
    for side in [Side::Left, Side::Right] {
        for context in 8..30 {
            let rules = budget(context, Overflow::Truncate { side, fields: None });
            let row = kept(&renderer("{mail}", rules, None), &cells, Purpose::Answer);
            assert!("漢字漢字漢字漢字".contains(row.text.as_str()) && row.ids.len() <= context - 6);
        }
    }
}

#[test]
fn a_template_over_the_budget_and_a_long_answer_are_errors_under_any_cut_rule() {
    let rules = budget(12, Overflow::Truncate { side: Side::Right, fields: None });
    let layout = mail_layout("Is this mail spam or ham? Answer with one word: {mail}");
    let problem = Renderer::new(layout, rules.clone(), vocabulary(), None).unwrap_err();
    assert!(problem.to_string().contains("the template alone has"), "{problem}");
    // The chat template's own text counts, too.
    let problem =
        render(&renderer("{mail}", rules, chat(CHATML)), &mail(), Purpose::Train).unwrap_err();
    assert!(matches!(problem, PromptError::TemplateTooLong { .. }), "{problem}");
    let rules = budget(20, Overflow::Truncate { side: Side::Right, fields: None });
    let cells =
        json!({"mail": "a", "note": "", "label": "one two three four five six seven eight"});
    let problem = render(&renderer("{mail}\n", rules, None), &cells, Purpose::Train).unwrap_err();
    assert!(matches!(problem, PromptError::AnswerTooLong { context: 20, .. }), "{problem}");
}

#[test]
fn rules_that_cannot_work_are_refused() {
    let mut rules = budget(12, Overflow::Error);
    rules.budget.fields.insert("body".to_owned(), 3);
    let problem = Renderer::new(mail_layout("{mail}"), rules, vocabulary(), None).unwrap_err();
    assert!(problem.to_string().contains("`body`"), "{problem}");
    let rules = budget(12, Overflow::Truncate { side: Side::Right, fields: None });
    assert!(matches!(
        messages(rules, chat(CHATML)),
        Err(PromptError::Rule { rule: "overflow", .. })
    ));
    assert!(matches!(messages(Rules::default(), None), Err(PromptError::NoChatTemplate { .. })));
}

#[test]
fn labels_are_the_tokens_that_training_would_learn() {
    for chat in [chat(CHATML), chat(HEADERS), None] {
        let renderer = renderer("{mail}\n", Rules::default(), chat);
        let cells = mail();
        let row = Row::new(3, cells.as_object().unwrap());
        let choice = renderer.render_labels(&row, &["ham", "spam"]).unwrap().unwrap();
        let trained = kept(&renderer, &cells, Purpose::Train);
        assert_eq!([choice.prompt.ids, choice.answers[1].clone()].concat(), trained.ids);
        assert!(decode(&choice.answers[0]).starts_with("ham"));
    }
}

#[test]
fn an_explanation_shows_each_token() {
    let renderer = renderer("Spam? {mail}\n", Rules::default(), chat(CHATML));
    let cells = mail();
    let row = Row::new(3, cells.as_object().unwrap());
    let rendered = renderer.render(&row, Purpose::Train).unwrap().kept().unwrap();
    let shown = renderer.explain_rendered(&rendered);
    let last = shown.tokens.last().unwrap();
    assert!(last.piece == "<|im_end|>" && last.special && last.learnt && last.field.is_none());
    assert!(shown.tokens.iter().any(|t| t.field.as_deref() == Some("mail")));
}

/// Whoever asks the question reads the prompt: that is what a server is held against.
#[test]
fn a_rows_question_is_read_as_its_prompt() {
    let rules = || Rules { system: Some("Be terse.".to_owned()), ..Rules::default() };
    let talks = [
        (renderer("Spam? {mail}\n", rules(), chat(CHATML)), mail()),
        (
            messages(Rules::default(), chat(CHATML)).unwrap(),
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}),
        ),
    ];
    for (renderer, cells) in talks {
        let row = Row::new(3, cells.as_object().unwrap());
        let Some(Question::Talk(talk)) = renderer.question(&row).unwrap() else { panic!() };
        assert_eq!(talk.messages.last().unwrap().role(), "user");
        let asked = messages(Rules::default(), chat(CHATML)).unwrap();
        let read = asked.render_conversation(&talk, Purpose::Answer).unwrap().kept().unwrap();
        let trained = kept(&renderer, &cells, Purpose::Train);
        assert_eq!(read.ids, trained.ids[..trained.prompt_len]);
    }
    let plain = renderer("Spam? {mail}\n", Rules::default(), None);
    let cells = mail();
    let row = Row::new(3, cells.as_object().unwrap());
    let text = "Spam? Win a prize quickly, or lose it now\n".to_owned();
    assert_eq!(plain.question(&row).unwrap(), Some(Question::Text(text)));
}

#[test]
fn the_fingerprint_tells_layouts_templates_and_rules_apart() {
    let a = renderer("{mail}", Rules::default(), chat(CHATML)).fingerprint();
    assert_eq!(a, renderer("{mail}", Rules::default(), chat(CHATML)).fingerprint());
    let rules = Rules { bos: Bos::Never, ..Rules::default() };
    for other in [
        renderer("{mail} ", Rules::default(), chat(CHATML)),
        renderer("{mail}", Rules::default(), chat(HEADERS)),
        renderer("{mail}", rules, chat(CHATML)),
    ] {
        assert_ne!(a, other.fingerprint());
    }
}

#[test]
fn the_clock_can_be_fixed() {
    let now = Clock::fixed("2026-01-31T08:30:00").unwrap();
    let source = "{{ strftime_now('%d %b %Y %H:%M') }}";
    let template = ChatTemplate::new(source, vocabulary().special_texts(), now).unwrap();
    let text = template.render(&Conversation::default(), true).unwrap();
    assert_eq!(text, "31 Jan 2026 08:30");
    assert!(Clock::fixed("tomorrow").is_err());
}

#[test]
fn errors_of_chat_templates_name_the_line() {
    let specials = || vocabulary().special_texts();
    let problem = ChatTemplate::new("a\n{% if %}", specials(), Clock::Local).unwrap_err();
    assert!(problem.to_string().contains("line 2"), "{problem}");
    let talk = Conversation::new(vec![Message::new("user", "x")]);
    let template =
        ChatTemplate::new("a\n\n{{ nothing.at.all }}", specials(), Clock::Local).unwrap();
    let problem = template.render(&talk, true).unwrap_err();
    assert!(problem.to_string().contains("line 3") && problem.hint().is_some(), "{problem}");
    let endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
    let template = ChatTemplate::new(endless, specials(), Clock::Local).unwrap();
    assert!(matches!(template.render(&talk, true), Err(PromptError::ChatFailed { .. })));
}
