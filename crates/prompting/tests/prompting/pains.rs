//! What goes wrong with loss masks elsewhere, one test for each: public issue threads of trl, transformers,
//! axolotl, unsloth and others. Each is an error here, or a mask that is right.

use fidelio_prompting::{
    Boundary, Budget, ChatTemplate, Clock, Overflow, PromptError, Purpose, Rendered, Rules,
    TurnProblem, Turns, Vocabulary,
};
use serde_json::{Value, json};

use crate::renderer::{
    CHATML, GENERATION, HEADERS, INST, chat, decode, id, kept, learnt, messages, render, renderer,
    talk, vocabulary,
};

fn all() -> Rules {
    Rules { turns: Turns::All, ..Rules::default() }
}

/// What a template does to a turn of a conversation.
fn problem(template: &str, talk: &Value) -> (usize, TurnProblem) {
    match render(&messages(all(), chat(template)).unwrap(), talk, Purpose::Train) {
        Err(PromptError::Turn { row: 3, turn, problem }) => (turn, problem),
        other => panic!("{other:?}"),
    }
}

/// The learnt runs of a row, each as text.
fn runs(row: &Rendered) -> Vec<String> {
    let mut runs: Vec<Vec<u32>> = vec![];
    for (i, &id) in row.ids.iter().enumerate().filter(|(i, _)| row.learn[*i]) {
        match runs.last_mut() {
            Some(run) if i > 0 && row.learn[i - 1] => run.push(id),
            _ => runs.push(vec![id]),
        }
    }
    runs.iter().map(|run| decode(run)).collect()
}

/// transformers 23530, trl 976 and 734: where padding is EOS, every EOS is masked and nothing ever stops.
#[test]
fn the_end_is_learnt_where_padding_is_eos() {
    let tokenizer = vocabulary().tokenizer().clone();
    let eos = id("</s>");
    let padded = Vocabulary::new(tokenizer, Some(id("<s>")), vec![eos]).unwrap();
    let padded = padded.with_pad_and_unk(Some(eos), None);
    let specials = padded.special_texts();
    assert_eq!(specials.pad, specials.eos);
    let inst = ChatTemplate::new(INST, specials, Clock::Local).unwrap();
    let column = fidelio_prompting::Source::Messages { column: "messages".into(), output: None };
    let renderer = fidelio_prompting::Renderer::new(column, all(), padded, Some(inst)).unwrap();
    let row = kept(&renderer, &talk(), Purpose::Train);
    let learnt: Vec<u32> =
        row.ids.iter().zip(&row.learn).filter(|it| *it.1).map(|it| *it.0).collect();
    assert_eq!(learnt.iter().filter(|id| **id == eos).count(), 2);
}

/// axolotl 1847, trl 5988: the token that ends a turn is learnt in some turns and not in others.
#[test]
fn every_learnt_turn_ends_with_a_stop() {
    for template in [CHATML, HEADERS, INST, GENERATION] {
        let renderer = messages(all(), chat(template)).unwrap();
        let row = kept(&renderer, &talk(), Purpose::Train);
        let runs = runs(&row);
        assert_eq!(runs.len(), 2, "{runs:?}");
        let stops: Vec<String> = renderer.stop_ids().iter().map(|id| decode(&[*id])).collect();
        assert!(runs.iter().all(|run| stops.iter().any(|stop| run.ends_with(stop))), "{runs:?}");
    }
}

/// marin 7237, trl 4879: templates without generation markers give a mask of zeros.
#[test]
fn a_template_needs_no_generation_markers() {
    assert!(!chat(CHATML).unwrap().has_generation_blocks());
    let row = kept(&messages(all(), chat(CHATML)).unwrap(), &talk(), Purpose::Train);
    assert_eq!(runs(&row), ["Paris.<|im_end|>", "Oslo.<|im_end|>"]);
}

/// marin 7237, liquid-finetune 37: markers that miss the answer give a mask of zeros.
#[test]
fn generation_markers_that_leave_out_what_is_written_are_an_error() {
    let template = "{% for m in messages %}<|start|>{{ m.role }}<|mid|>\
        {% if m.role == 'assistant' %}<think></think>{% generation %}{{ m.content }}{% endgeneration %}\
        {% else %}{{ m.content }}{% endif %}<|turn|>{% endfor %}\
        {% if add_generation_prompt %}<|start|>assistant<|mid|>{% endif %}";
    let (turn, problem) = problem(template, &talk());
    assert_eq!(
        (turn, problem),
        (1, TurnProblem::NotGenerated { text: "<think></think>".to_owned() })
    );
}

/// unsloth 2771, trl 4201: a thinking template writes an earlier turn otherwise than the last one.
#[test]
fn a_template_that_drops_earlier_reasoning_is_an_error_that_names_the_turn() {
    let template = "{% for m in messages %}<|start|>{{ m.role }}<|mid|>\
        {% if m.role == 'assistant' and loop.last %}<think>\n\n</think>{% endif %}\
        {{ m.content }}<|turn|>{% endfor %}\
        {% if add_generation_prompt %}<|start|>assistant<|mid|>{% endif %}";
    let (turn, problem) = problem(template, &talk());
    let TurnProblem::AnswerChanges { has, turn_has, .. } = problem else { panic!("{problem:?}") };
    assert_eq!((turn, &has[..6], &turn_has[..7]), (1, "Paris.", "<think>"));
    let last = Rules { turns: Turns::Last, ..Rules::default() };
    let row = kept(&messages(last, chat(template)).unwrap(), &talk(), Purpose::Train);
    assert_eq!(learnt(&row), "<think>\n\n</think>Oslo.<|turn|>");
}

/// The same, where what comes before a turn changes: a template that numbers its messages from the end.
#[test]
fn a_template_that_rewrites_what_came_before_is_an_error_that_names_the_turn() {
    let template = "{% for m in messages %}{{ messages | length - loop.index }}<|start|>{{ m.role }}<|mid|>\
        {{ m.content }}<|turn|>{% endfor %}\
        {% if add_generation_prompt %}0<|start|>assistant<|mid|>{% endif %}";
    let rules = Rules { boundary: Boundary::Separate, ..all() };
    let problem = render(&messages(rules, chat(template)).unwrap(), &talk(), Purpose::Train);
    let Err(PromptError::Turn { turn: 1, problem, .. }) = problem else { panic!("{problem:?}") };
    assert!(matches!(problem, TurnProblem::PromptChanges { .. }), "{problem}");
}

/// trl 5988, FastChat's GLM-4: no stop stands behind an earlier answer.
#[test]
fn an_earlier_turn_without_a_stop_is_an_error() {
    let template = "{% for m in messages %}{{ m.role }}:\n{{ m.content }}\n{% endfor %}\
        {% if add_generation_prompt %}assistant:\n{% endif %}";
    let (turn, problem) = problem(template, &talk());
    let TurnProblem::NoStop { followed_by } = problem else { panic!("{problem}") };
    assert!(turn == 1 && followed_by.starts_with("user:\nOf Norway?"), "`{followed_by}`");
}

/// FastChat 2992: a turn's tokens are not those that its prompt would get, and only a warning says so.
#[test]
fn a_turn_that_merges_with_its_prompt_is_an_error() {
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
        {% if add_generation_prompt %}assistant: {% endif %}";
    let rules = Rules { boundary: Boundary::Separate, ..all() };
    let problem = render(&messages(rules, chat(template)).unwrap(), &talk(), Purpose::Train);
    let Err(PromptError::Turn { turn: 1, problem, .. }) = problem else { panic!("{problem:?}") };
    assert!(matches!(problem, TurnProblem::Merged { .. }), "{problem}");
}

/// Phi 3 writes a second stop where a conversation ends; the first one is the turn's.
#[test]
fn a_second_stop_at_the_end_of_a_conversation_is_not_learnt() {
    let template = "{% for m in messages %}<|start|>{{ m.role }}<|mid|>{{ m.content }}<|turn|>\n{% endfor %}\
        {% if add_generation_prompt %}<|start|>assistant<|mid|>{% else %}{{ eos_token }}{% endif %}";
    let row = kept(&messages(all(), chat(template)).unwrap(), &talk(), Purpose::Train);
    assert_eq!(runs(&row), ["Paris.<|turn|>", "Oslo.<|turn|>"]);
}

/// trl 6548: completions that are empty give a loss of NaN, or teach to say nothing.
#[test]
fn empty_turns_are_errors() {
    let with = |at: usize, text: Value| {
        let mut talk = talk();
        talk["messages"][at]["content"] = text;
        talk
    };
    assert_eq!(problem(CHATML, &with(1, json!(" "))), (1, TurnProblem::Empty));
    assert_eq!(problem(CHATML, &with(3, json!(null))), (2, TurnProblem::Empty));
    let mut call = with(1, json!(""));
    call["messages"][1]["tool_calls"] = json!([{"function": {"name": "clock"}}]);
    assert_eq!(problem(CHATML, &call), (1, TurnProblem::Dropped), "ChatML shows no tool calls");
}

/// trl 6548, LLaMA-Factory 3143: a cut prompt leaves no room for the answer, or cuts it.
#[test]
fn a_conversation_that_does_not_fit_is_never_cut() {
    let with = |overflow| {
        let budget = Budget { context: Some(20), overflow, ..Budget::default() };
        let renderer = messages(Rules { budget, ..all() }, chat(HEADERS)).unwrap();
        render(&renderer, &talk(), Purpose::Train)
    };
    let error = with(Overflow::Error).unwrap_err();
    assert!(matches!(error, PromptError::PromptTooLong { row: 3, budget: 20, .. }), "{error}");
    assert!(with(Overflow::Drop).unwrap().kept().is_none());
}

/// lm-evaluation-harness 2922: trained to end with one token, generation waits for another.
#[test]
fn generation_stops_at_the_token_that_was_learnt() {
    let renderer = renderer("{mail}", Rules::default(), chat(HEADERS));
    let cells = json!({"mail": "a", "note": "", "label": "spam"});
    let row = kept(&renderer, &cells, Purpose::Train);
    assert!(renderer.stop_ids().contains(row.ids.last().unwrap()));
    assert_ne!(
        row.ids.last(),
        renderer.vocabulary().eos().first(),
        "the template ends its turns itself"
    );
}
