//! Rules of `prompt.retrieval`: examples and passages need a place in the prompt, and what is shown of
//! them has to be there.

use serde_json::Value;

use super::Rules;
use super::prompt::{Reference, references};
use crate::catalogue::RETRIEVAL;
use crate::problem::Kind;
use crate::suggest::nearest;
use crate::view::join;

const TEMPLATE: &str = "prompt.template";
const CONTEXT: &str = "__context__";
/// The names in a format that are no columns.
const IN_FORMAT: [&str; 3] = ["__sample__", "__task__", "__answer__"];
/// The names in a format of passages.
const OF_PASSAGES: [&str; 3] = ["__passage__", "__source__", "__task__"];

impl Rules<'_> {
    /// `template` holds the references of the template, if there is one.
    pub(super) fn retrieval(&mut self, template: Option<&[Reference<'_>]>) {
        if self.view.broken(RETRIEVAL) {
            return;
        }
        let context = template.is_some_and(|all| all.iter().any(|it| it.name == CONTEXT));
        if self.view.written(RETRIEVAL).is_none() {
            if context {
                let message = "the template refers to `{__context__}`, and there is no \
                               `prompt.retrieval`";
                let problem = self
                    .in_template(CONTEXT, message.to_owned())
                    .hint("add `retrieval: {type: bm25, k: 4}`, or remove the reference");
                self.found.push(problem);
            }
            return;
        }
        let alone = self.stands_alone();
        let passages = self.view.written("prompt.retrieval.corpus").is_some();
        match self.view.text("prompt.retrieval.show") {
            _ if !alone => {}
            Some("turns") if passages => self.no_turns(),
            Some("turns") => self.as_turns(context),
            _ => self.in_context(template.is_some(), context),
        }
        if passages {
            self.format_of_passages();
        } else {
            self.format();
        }
        self.given_examples(template);
    }

    /// Whether the prompt is made of columns: whole conversations and documents show no examples.
    fn stands_alone(&mut self) -> bool {
        let others = ["prompt.messages", "prompt.document"];
        let Some(other) = others.into_iter().find(|it| self.view.written(it).is_some()) else {
            return true;
        };
        let message = format!("`{RETRIEVAL}` and `{other}` exclude each other");
        let problem = self
            .at_key(Kind::Contradiction, RETRIEVAL, message)
            .because("examples belong to a prompt that is made of columns")
            .hint("remove one of the two");
        let problem = self.also(problem, other, "given here");
        self.found.push(problem);
        false
    }

    fn as_turns(&mut self, context: bool) {
        self.needs_chat("prompt.retrieval.show");
        if context {
            let message = "examples that are turns have no place in the template";
            let problem = self
                .in_template(CONTEXT, message.to_owned())
                .hint("remove `{__context__}`, or write `show: context`");
            let problem = self.also(problem, "prompt.retrieval.show", "decided here");
            self.found.push(problem);
        }
    }

    fn no_turns(&mut self) {
        let path = "prompt.retrieval.show";
        let message = "passages are no turns: nobody asked them, and they answer nothing";
        let problem = self
            .at(Kind::Contradiction, path, message.to_owned())
            .hint("write `show: context`, or show rows without `corpus`");
        let problem = self.also(problem, "prompt.retrieval.corpus", "the corpus");
        self.found.push(problem);
    }

    fn in_context(&mut self, template: bool, context: bool) {
        let task = self.view.written("prompt.task").is_some() || self.view.broken("prompt.task");
        let (message, hint) = match template {
            true if context => return,
            true => (
                "what is retrieved never reaches the model: the template does not refer to it",
                "add `{__context__}` to the template, or write `show: turns` (for rows)",
            ),
            false if task || self.view.broken(TEMPLATE) => return,
            false => (
                "retrieval without a template needs `prompt.task`",
                "say in `task` what the model shall do, write a template with `{__context__}`, or \
                 write `show: turns`",
            ),
        };
        let problem = self.at_key(Kind::Contradiction, RETRIEVAL, message.to_owned()).hint(hint);
        let problem = self.also(problem, TEMPLATE, "this template");
        self.found.push(problem);
    }

    /// The format of a passage shows its text.
    fn format_of_passages(&mut self) {
        const PATH: &str = "prompt.retrieval.format";
        let Some(format) = self.view.text(PATH).map(str::to_owned) else { return };
        let references = references(&format);
        for name in references.iter().map(|it| it.name).filter(|name| !OF_PASSAGES.contains(name)) {
            let hint = match nearest(name, OF_PASSAGES) {
                Some(near) => format!("did you mean `{{{near}}}`?"),
                None => format!("a passage has `{{{}}}`", OF_PASSAGES[..2].join("}` and `{")),
            };
            let message = format!("the format refers to `{{{name}}}`, which no passage has");
            let problem = self.within(PATH, name, message).hint(hint);
            self.found.push(problem);
        }
        self.task_of_format(PATH, &references);
        if !references.iter().any(|it| it.name == "__passage__") {
            let message = "the format shows a passage without its text".to_owned();
            let problem =
                self.at(Kind::Contradiction, PATH, message).hint("add `{__passage__}` to it");
            self.found.push(problem);
        }
    }

    fn task_of_format(&mut self, path: &str, references: &[Reference<'_>]) {
        let task = self.view.written("prompt.task").is_some() || self.view.broken("prompt.task");
        if !task && references.iter().any(|it| it.name == "__task__") {
            let message = "the format refers to `{__task__}`, and there is no `prompt.task`";
            let problem = self.within(path, "__task__", message.to_owned());
            self.found.push(problem);
        }
    }

    /// The format of an example shows its answer, and something that it answers.
    fn format(&mut self) {
        const PATH: &str = "prompt.retrieval.format";
        let Some(format) = self.view.text(PATH).map(str::to_owned) else { return };
        let references = references(&format);
        let output = self.view.text("output_features.0.column").unwrap_or("__answer__").to_owned();
        let answers = |name: &str| name == "__answer__" || name == output;
        for name in references.iter().map(|it| it.name) {
            let special = name.starts_with("__") && name.ends_with("__") && name.len() > 4;
            if !special || IN_FORMAT.contains(&name) {
                continue;
            }
            let hint = match nearest(name, IN_FORMAT) {
                Some(near) => format!("did you mean `{{{near}}}`?"),
                None => format!("the special names are `{{{}}}`", IN_FORMAT.join("}`, `{")),
            };
            let message = format!("the format refers to `{{{name}}}`, which it cannot show");
            let problem = self.within(PATH, name, message).hint(hint);
            self.found.push(problem);
        }
        self.task_of_format(PATH, &references);
        if !references.iter().any(|it| answers(it.name)) {
            let message = "the format shows an example without its answer".to_owned();
            let problem =
                self.at(Kind::Contradiction, PATH, message).hint("add `{__answer__}` to it");
            self.found.push(problem);
        } else if references.iter().all(|it| answers(it.name) || it.name == "__task__") {
            let message = "the format shows nothing of an example but its answer".to_owned();
            let problem =
                self.at(Kind::Contradiction, PATH, message).hint("add `{__sample__}` to it");
            self.found.push(problem);
        }
    }

    /// Examples that the file gives have an answer, and no column that nothing shows.
    fn given_examples(&mut self, template: Option<&[Reference<'_>]>) {
        let list = join(RETRIEVAL, "examples");
        let Some(examples) = self.view.written(&list).and_then(Value::as_array).cloned() else {
            return;
        };
        let text = |path: &str| self.view.text(path).unwrap_or_default().to_owned();
        let (input, output) = (text("input_features.0.column"), text("output_features.0.column"));
        let format = text("prompt.retrieval.format");
        let mut shown = vec![input.clone(), text("input_features.0.name"), output.clone()];
        let template = template.unwrap_or_default().iter();
        shown.extend(template.chain(&references(&format)).map(|it| it.name.to_owned()));
        let labels = self.view.written("output_features.0.preprocessing.vocab").cloned();
        for (index, example) in examples.iter().enumerate() {
            let Some(cells) = example.as_object() else { continue };
            let at = join(&list, &index.to_string());
            for column in cells.keys().filter(|column| !shown.contains(column)) {
                let path = join(&at, column);
                let near = nearest(column, shown.iter().map(String::as_str));
                let hint = near.map_or_else(
                    || "remove it, or refer to it in the template".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("`{path}` is a column that the prompt does not show");
                let problem = self.at_key(Kind::Useless, &path, message).hint(hint);
                self.found.push(problem);
            }
            if !output.is_empty() && !cells.contains_key(&output) {
                let message = format!("`{at}` has no answer");
                let hint = format!("add `{output}: …` to it");
                let problem = self.at(Kind::Missing, &at, message).hint(hint);
                self.found.push(problem);
            }
            let label = cells.get(&output).and_then(Value::as_str);
            let known = labels.as_ref().and_then(Value::as_array);
            if let (Some(label), Some(known)) = (label, known)
                && !known.iter().any(|it| it.as_str() == Some(label))
            {
                let path = join(&at, &output);
                let message = format!("`{label}` is none of the labels");
                let problem = self.at(Kind::NotAllowed, &path, message);
                let problem =
                    self.also(problem, "output_features.0.preprocessing.vocab", "the labels");
                self.found.push(problem);
            }
        }
    }
}
