//! Rules of `prompt`: what the template refers to, and who says what the model reads.

use serde_json::Value;

use super::Rules;
use crate::problem::{Kind, Problem};
use crate::source::Span;
use crate::suggest::nearest;
use crate::view::join;

impl Rules<'_> {
    pub(super) fn prompt(&mut self) {
        if self.view.broken("prompt") && self.view.written("prompt.template").is_none() {
            return;
        }
        let template = self.view.text("prompt.template").map(str::to_owned);
        let task = self.view.written("prompt.task").is_some() || self.view.broken("prompt.task");
        if self.view.written("prompt.messages").is_some() {
            self.messages(template.is_some());
        }
        self.document();
        let Some(template) = template else {
            self.retrieval(None);
            self.budget(None);
            return;
        };
        let references = references(&template);
        self.retrieval(Some(&references));
        let at = "prompt.template";
        for it in &references {
            match it.name {
                "__sample__" | "__task__" | "__context__" => {}
                name if name.starts_with("__") && name.ends_with("__") && name.len() > 4 => {
                    let known = ["__sample__", "__task__", "__context__"];
                    let hint = nearest(name, known).map_or_else(
                        || {
                            "the special names are `{__sample__}`, `{__task__}` and `{__context__}`"
                                .to_owned()
                        },
                        |near| format!("did you mean `{{{near}}}`?"),
                    );
                    let message =
                        format!("the template refers to `{{{name}}}`, which is no special name");
                    let problem = self.in_template(name, message).hint(hint);
                    self.found.push(problem);
                }
                _ => {}
            }
        }
        let refers = |name: &str| references.iter().any(|it| it.name == name);
        if refers("__task__") && !task {
            let message = "the template refers to `{__task__}`, and there is no `prompt.task`";
            let problem = self
                .in_template("__task__", message.to_owned())
                .hint("add `task: …` beside the template, or write the task into the template");
            self.found.push(problem);
        }
        if !refers("__task__") && self.view.written("prompt.task").is_some() {
            let problem = self
                .at(
                    Kind::Contradiction,
                    "prompt.task",
                    "`prompt.task` never reaches the model".to_owned(),
                )
                .because("the template does not refer to it")
                .hint("add `{__task__}` to the template, or remove the task");
            let problem = self.also(problem, at, "this template");
            self.found.push(problem);
        }
        let columns = references.iter().any(|it| !matches!(it.name, "__task__" | "__context__"));
        if !columns {
            let problem = self
                .at(Kind::Contradiction, at, "the template shows nothing of the row".to_owned())
                .because("every row would be asked the same question")
                .hint("refer to a column, `{column}`, or to the input feature, `{__sample__}`");
            self.found.push(problem);
        }
        let output = self.view.text("output_features.0.column").map(str::to_owned);
        if let Some(output) = output.filter(|output| refers(output)) {
            let message = format!("the template shows the expected answer, `{{{output}}}`");
            let problem = self
                .in_template(&output, message)
                .because("the model would read what it is asked for")
                .hint("remove the reference: the answer follows the prompt by itself");
            let problem = self.also(problem, "output_features.0.name", "the output feature");
            self.found.push(problem);
        }
        self.budget(Some(&references));
    }

    fn messages(&mut self, template: bool) {
        for (key, there) in [
            ("prompt.template", template),
            ("prompt.task", self.view.written("prompt.task").is_some()),
        ] {
            if there {
                let message = format!("`{key}` and `prompt.messages` exclude each other");
                let problem = self
                    .at(Kind::Contradiction, key, message)
                    .because("the column `messages` holds the whole conversation")
                    .hint("remove one of the two");
                let problem = self.also(problem, "prompt.messages", "given here");
                self.found.push(problem);
            }
        }
        self.needs_chat("prompt.messages");
    }

    /// A document stands alone: nothing is asked of it or wrapped around it.
    fn document(&mut self) {
        const PATH: &str = "prompt.document";
        let window = self.view.text("prompt.overflow.rule") == Some("window");
        if self.view.written(PATH).is_none() {
            if window && !self.view.broken(PATH) {
                let at = "prompt.overflow";
                let message = "`window` cuts documents, and there is no `prompt.document`";
                let problem = self
                    .at(Kind::Contradiction, at, message.to_owned())
                    .because(
                        "a prompt in parts is not the prompt, and an answer in parts no answer",
                    )
                    .hint("use `truncate` or `drop`");
                self.found.push(problem);
            }
            return;
        }
        let asks = |path: &str| match path {
            "prompt.chat_template" => Some(&Value::Bool(true)),
            _ => None,
        };
        let others = ["template", "task", "system", "messages", "chat_template"];
        for path in others.map(|key| join("prompt", key)) {
            let there = self.view.written(&path);
            if there.is_none() || asks(&path).is_some_and(|asked| there != Some(asked)) {
                continue;
            }
            let problem = self
                .at(Kind::Contradiction, &path, format!("`{path}` and `{PATH}` exclude each other"))
                .because("a document is read as it is: nothing is asked of it or wrapped around it")
                .hint("remove one of the two");
            let problem = self.also(problem, PATH, "given here");
            self.found.push(problem);
        }
        let output = "output_features.0.type";
        if self.view.text(output) == Some("category") {
            let problem = self
                .at(Kind::Contradiction, output, format!("`{PATH}` has no labels to choose from"))
                .hint("write `type: text`");
            let problem = self.also(problem, PATH, "the documents");
            self.found.push(problem);
        }
    }

    pub(super) fn needs_chat(&mut self, path: &str) {
        if self.view.written("prompt.chat_template") == Some(&Value::Bool(false)) {
            let message = format!("`{path}` needs the chat template, and it is switched off");
            let problem = self
                .at(Kind::Contradiction, path, message)
                .hint("remove `chat_template: false`, or write the text into the template");
            let problem = self.also(problem, "prompt.chat_template", "switched off here");
            self.found.push(problem);
        }
    }

    fn budget(&mut self, references: Option<&[Reference<'_>]>) {
        if self.view.written("prompt.system").is_some() {
            self.needs_chat("prompt.system");
        }
        let Some(budget) = self.view.written("prompt.budget").and_then(Value::as_object) else {
            return;
        };
        let column = self.view.text("input_features.0.column").unwrap_or("").to_owned();
        let named: Vec<String> = match references {
            Some(references) => references
                .iter()
                .filter(|it| it.name != "__context__")
                .map(|it| it.name.to_owned())
                .collect(),
            None => vec!["__sample__".to_owned(), column],
        };
        let mut sum = 0_i64;
        for (field, tokens) in budget {
            sum = sum.saturating_add(tokens.as_i64().unwrap_or(0));
            if named.contains(field) {
                continue;
            }
            let path = join("prompt.budget", field);
            let near = nearest(field, named.iter().map(String::as_str));
            let hint = match near {
                _ if field == "__context__" => "write `prompt.retrieval.max_tokens`".to_owned(),
                Some(near) => format!("did you mean `{near}`?"),
                None => "name a column that the template refers to".to_owned(),
            };
            let problem = self
                .at(
                    Kind::Useless,
                    &path,
                    format!("`{path}` limits a column that the prompt does not show"),
                )
                .hint(hint);
            self.found.push(problem);
        }
        let global = "preprocessing.global_max_sequence_length";
        if let Some(most) = self.view.written(global).and_then(Value::as_i64)
            && sum > most
        {
            let message = format!("the budgets add up to {sum} tokens, and a row may have {most}");
            let problem = self.at(Kind::Contradiction, "prompt.budget", message);
            let problem = self.also(problem, global, "for prompt and answer");
            self.found.push(problem);
        }
    }

    /// A contradiction at a reference inside the template, as it stands in the file.
    pub(super) fn in_template(&self, name: &str, message: String) -> Problem {
        self.within("prompt.template", name, message)
    }

    /// A contradiction at a reference inside the text at a path, as it stands in the file.
    pub(super) fn within(&self, path: &str, name: &str, message: String) -> Problem {
        let problem = Problem::new(Kind::Contradiction, path, message);
        let Some(place) = self.checked.places.get(path) else { return problem };
        let span = place.value;
        let text =
            self.sources.get(span.source as usize).map_or("", |source| source.slice(span.range()));
        // Quoting can change the text, but hardly ever a reference in it.
        let found = text.find(&format!("{{{name}")).map(|offset| Span {
            start: span.start + offset as u32,
            end: span.start + (offset + name.len() + 2) as u32,
            ..span
        });
        problem.at(self.sources, found.unwrap_or(span), "")
    }
}

/// The parts of a template that name something.
pub(super) struct Reference<'a> {
    pub(super) name: &'a str,
}

/// The names in braces of a template; `{{` and `}}` are literal braces. What is not well formed is
/// left to the renderer, which says it better.
pub(super) fn references(template: &str) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let after = rest.get(open + 1..).unwrap_or("");
        if let Some(literal) = after.strip_prefix('{') {
            rest = literal;
            continue;
        }
        let Some(close) = after.find('}') else { break };
        let inside = after.get(..close).unwrap_or("");
        let name = inside.split([':', '!']).next().unwrap_or("");
        if !name.is_empty() {
            found.push(Reference { name });
        }
        rest = after.get(close + 1..).unwrap_or("");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_as_python_finds_them() {
        let names = |text| references(text).iter().map(|it| it.name).collect::<Vec<_>>();
        assert_eq!(names("{a} {{b}} {c:.2f} {{{d}}}"), ["a", "c", "d"]);
        assert_eq!(names("no {"), [""; 0]);
        assert_eq!(names("{}"), [""; 0]);
    }
}
