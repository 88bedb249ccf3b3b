//! Ways of calling tools, found in the templates of others.

use fidelio_prompting::{
    ChatTemplate, Clock, Conversation, Message, PromptError, Said, SpecialTexts, ToolFormat,
};
use serde_json::json;

use crate::chat_goldens::fixtures;

fn template(name: &str) -> Option<ChatTemplate> {
    let path = fixtures()?.join(format!("templates/{name}.jinja"));
    let source = std::fs::read_to_string(path).unwrap();
    let special = |text: &str| Some(text.to_owned());
    let tokens =
        SpecialTexts { bos: special("<s>"), eos: special("</s>"), ..SpecialTexts::default() };
    Some(ChatTemplate::new(&source, tokens, Clock::Local).unwrap())
}

/// What the template makes of a call, up to the end of the turn, is read back as that call.
#[test]
fn calls_of_the_common_families_are_read_back() {
    if fixtures().is_none() {
        eprintln!("skipped: `cargo xtask fetch` brings the templates");
        return;
    }
    for (name, format, end) in [
        ("Qwen-Qwen2.5-7B-Instruct", ToolFormat::Tagged, "<|im_end|>"),
        ("Qwen-Qwen3-0.6B", ToolFormat::Tagged, "<|im_end|>"),
        ("Qwen-QwQ-32B", ToolFormat::Tagged, "<|im_end|>"),
        ("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", ToolFormat::Tagged, "<|im_end|>"),
        ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", ToolFormat::Tagged, "<|im_end|>"),
        ("meta-llama-Llama-3.1-8B-Instruct", ToolFormat::Bare, "<|eot_id|>"),
        ("meta-llama-Llama-3.2-3B-Instruct", ToolFormat::Bare, "<|eot_id|>"),
        ("meta-llama-Llama-3.3-70B-Instruct", ToolFormat::Bare, "<|eot_id|>"),
        ("mistralai-Mistral-Nemo-Instruct-2407", ToolFormat::Listed, "</s>"),
    ] {
        let template = template(name).unwrap();
        assert_eq!(ToolFormat::of(&template).map_err(|it| it.to_string()), Ok(format), "{name}");
        let parameters = json!({ "type": "object", "properties": {}, "required": [] });
        let function =
            json!({ "name": "weather", "description": "The weather.", "parameters": parameters });
        let tools = json!([{ "type": "function", "function": function }]);
        let mut talk = Conversation::new(vec![Message::new("user", "Rain?")]);
        talk.offer(tools, &template);
        let asked = template.render(&talk, true).unwrap();
        assert!(asked.contains("The weather."), "{name}: {asked}");
        let arguments = json!({ "city": "São \"Paulo\"", "days": [1, 2], "deep": { "x": null } });
        let function = json!({ "name": "weather", "arguments": arguments });
        let call = json!({ "id": "abcdefghi", "type": "function", "function": function });
        let message = json!({ "role": "assistant", "content": "", "tool_calls": [call] });
        talk.messages.push(Message::from_json(message, 1).unwrap());
        let called = template.render(&talk, false).unwrap();
        // QwQ's template lets the model begin in its thoughts, and leaves them out of earlier turns.
        let answer = called.strip_prefix(&asked);
        let answer = answer.unwrap_or_else(|| &called[called.rfind("<tool_call>").unwrap()..]);
        let answer = &answer[..answer.find(end).unwrap()];
        let mut listener = format.listen();
        let mut said = listener.push(answer);
        said.extend(listener.finish());
        let calls: Vec<_> = said.into_iter().filter(|it| matches!(it, Said::Call(_))).collect();
        let [Said::Call(call)] = &calls[..] else { panic!("{name}: {answer:?} is {calls:?}") };
        assert_eq!((call.name.as_str(), json!(call.arguments)), ("weather", arguments), "{name}");
    }
}

#[test]
fn other_ways_are_refused_and_not_guessed() {
    if fixtures().is_none() {
        eprintln!("skipped: `cargo xtask fetch` brings the templates");
        return;
    }
    for name in ["Qwen3-Coder", "GLM-4.6", "openai-gpt-oss-120b", "Qwen3.5-4B", "StepFun3.5-Flash"]
    {
        let found = ToolFormat::of(&template(name).unwrap());
        assert!(found.is_err(), "{name}: {found:?}");
    }
    for name in ["google-gemma-2-2b-it", "microsoft-Phi-3.5-mini-instruct"] {
        let found = ToolFormat::of(&template(name).unwrap());
        assert!(matches!(found, Err(PromptError::ToolsIgnored)), "{name}: {found:?}");
    }
}

/// SmolLM 2 and 3 say how calls are written, and SmolLM 3 has a variable of its own for tools.
#[test]
fn a_template_may_only_say_how_calls_are_written() {
    let source = "{% if xml_tools %}{% for t in xml_tools %}{{ t | tojson }}{% endfor %}\
        Write <tool_call>{\"name\": ..., \"arguments\": ...}</tool_call>.{% endif %}\
        {% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    let template = ChatTemplate::new(source, SpecialTexts::default(), Clock::Local).unwrap();
    assert_eq!(ToolFormat::of(&template).map_err(|it| it.to_string()), Ok(ToolFormat::Tagged));
    let mut talk = Conversation::default();
    talk.offer(json!([{ "name": "f" }]), &template);
    assert!(talk.tools.is_none() && talk.extra.contains_key("xml_tools"));
}
