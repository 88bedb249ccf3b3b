//! What is shown before a row is asked: other rows with their answers, or passages of documents.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::layout::cell_text;
use crate::{Layout, LayoutSpec, PromptError, Row, Template, TemplateError, TemplateProblem};

/// How examples are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShowExamples {
    /// As text, where the template says `{__context__}`.
    InText {
        /// What one example looks like: a template that may refer to every column, the answer's too,
        /// and to `{__answer__}`. Without one an example looks like the prompt: as what follows
        /// `{__context__}` in the template, with the answer behind it.
        format: Option<String>,
        /// What stands between two examples.
        separator: String,
    },
    /// As earlier turns of the chat: each is asked as the row is, and answered.
    AsTurns,
    /// Passages of documents, as text, where the template says `{__context__}`. Each is an [`Example`]
    /// with the cells [`PASSAGE`] and [`SOURCE`].
    Passages {
        /// What one passage looks like: a template that may refer to `{__passage__}`, `{__source__}` and
        /// `{__task__}`. Without one it is the source in brackets, and the passage below.
        format: Option<String>,
        /// What stands between two passages.
        separator: String,
    },
}

/// The cell of a passage that holds its text.
pub const PASSAGE: &str = "__passage__";
/// The cell of a passage that says where it comes from.
pub const SOURCE: &str = "__source__";

/// What a passage looks like without a format.
const CITED: &str = "[{__source__}]\n{__passage__}";

/// A row that is shown with its answer, or a passage.
#[derive(Debug, Clone, Copy)]
pub struct Example<'a> {
    /// Its number, for messages.
    pub number: usize,
    /// Its cells by column.
    pub cells: &'a Map<String, Value>,
    /// When there is no room for all examples, the greatest rank goes first.
    pub rank: usize,
}

/// Which of a row's examples the model reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExamplesShown {
    /// Those that are shown, as places in [`Row::examples`](crate::Row::examples).
    pub shown: Vec<usize>,
    /// How many there was no room for.
    pub left_out: usize,
    /// Tokens that those shown add to the prompt.
    pub tokens: usize,
    /// Tokens that the others would have added.
    pub tokens_left_out: usize,
}

/// How one example reads in a text.
#[derive(Debug, Clone)]
pub(crate) struct ExampleText {
    layout: Box<Layout>,
    separator: String,
}

impl ExampleText {
    /// What the spec of a prompt says, whose template is `template`.
    pub(crate) fn new(
        spec: &LayoutSpec,
        template: &Template,
        columns: &[String],
    ) -> Result<Option<Self>, Vec<TemplateError>> {
        let (format, separator, passages) = match &spec.examples {
            Some(ShowExamples::InText { format, separator }) => (format, separator, false),
            Some(ShowExamples::Passages { format, separator }) => (format, separator, true),
            Some(ShowExamples::AsTurns) | None => return Ok(None),
        };
        let written = format.is_some();
        let usual = || if passages { CITED.to_owned() } else { like_the_prompt(template) };
        let source = format.clone().unwrap_or_else(usual);
        let format = Template::parse(&source).and_then(|format| {
            let found =
                if passages { check_passage(spec, &format) } else { check(spec, &format, columns) };
            if found.is_empty() { Ok(format) } else { Err(found) }
        });
        let format = format.map_err(|mut found| {
            for problem in &mut found {
                problem.in_format = written;
                if !written {
                    problem.range = 0..0;
                }
            }
            found
        })?;
        let spec = LayoutSpec { template: Some(source), examples: None, ..spec.clone() };
        let layout = Box::new(Layout::compile(spec, format));
        Ok(Some(Self { layout, separator: separator.clone() }))
    }

    /// Some examples as one text.
    pub(crate) fn text(&self, row: usize, shown: &[&Example<'_>]) -> Result<String, PromptError> {
        let texts = shown.iter().map(|example| {
            let text = self.layout.render(&Row::new(example.number, example.cells));
            text.map_err(|source| of_example(row, source))
        });
        Ok(texts.collect::<Result<Vec<_>, _>>()?.join(&self.separator))
    }
}

impl Example<'_> {
    /// The example as question and answer.
    pub(crate) fn turns(&self, layout: &Layout, row: usize) -> Result<[String; 2], PromptError> {
        let cells = Row::new(self.number, self.cells);
        let asked = layout.render(&cells);
        let column = layout.spec().answer_column();
        let answer = cells.cell(column).and_then(|cell| {
            let null = || PromptError::NullCell { row: self.number, column: column.to_owned() };
            cell_text(cell, false).ok_or_else(null)
        });
        let turns = asked.and_then(|asked| Ok([asked, answer?]));
        turns.map_err(|source| of_example(row, source))
    }
}

fn of_example(row: usize, source: PromptError) -> PromptError {
    PromptError::Example { row, source: Box::new(source) }
}

/// The format of an example that looks like the prompt.
fn like_the_prompt(template: &Template) -> String {
    let of_row = |name: &str| !matches!(name, "__task__" | "__context__");
    let context = template.fields().find(|field| field.name == "__context__");
    let behind = context.map_or("", |context| &template.source()[context.range.end..]);
    let shows_row = Template::parse(behind)
        .is_ok_and(|behind| behind.fields().any(|field| of_row(&field.name)));
    if shows_row {
        let space = if behind.ends_with(char::is_whitespace) { "" } else { " " };
        return format!("{}{space}{{__answer__}}", behind.trim_start());
    }
    // The row is shown before its examples: then an example is a line for each of its columns.
    let mut lines: Vec<String> = vec![];
    for field in template.fields().filter(|field| of_row(&field.name)) {
        let name = if field.name == "__sample__" { "Input" } else { field.name.as_str() };
        let line = format!("{name}: {}", &template.source()[field.range.clone()]);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.push("Answer: {__answer__}".to_owned());
    lines.join("\n")
}

fn check_passage(spec: &LayoutSpec, format: &Template) -> Vec<TemplateError> {
    use TemplateProblem::*;
    let mut found = vec![];
    let mut shown = false;
    for field in format.fields() {
        let mut problem = |kind| found.push(TemplateError::new(field.range.clone(), kind));
        if let Some(spec) = &field.spec {
            problem(Format(spec.written().to_owned()));
        }
        match field.name.as_str() {
            "__task__" if spec.task.is_none() => problem(TaskMissing),
            "__task__" | SOURCE => {}
            PASSAGE => shown = true,
            name => problem(NotOfPassage(name.to_owned())),
        }
    }
    if !shown {
        let end = format.source().len();
        found.push(TemplateError::new(end..end, PassageNotShown));
    }
    found
}

fn check(spec: &LayoutSpec, format: &Template, columns: &[String]) -> Vec<TemplateError> {
    use TemplateProblem::*;
    let mut found = vec![];
    let (mut answer, mut of_row) = (false, false);
    for field in format.fields() {
        let mut problem = |kind| found.push(TemplateError::new(field.range.clone(), kind));
        let known = |name: &str| columns.iter().any(|column| column == name);
        match field.name.as_str() {
            "__task__" if field.spec.is_some() => {
                let written = field.spec.as_ref().map(|it| it.written().to_owned());
                problem(Format(written.unwrap_or_default()));
            }
            "__task__" if spec.task.is_none() => problem(TaskMissing),
            "__task__" => {}
            "__context__" => problem(ContextInFormat),
            "__answer__" => answer = true,
            name if name == spec.answer_column() => answer = true,
            "__sample__" => {
                of_row = true;
                if !known(&spec.input) {
                    let (name, columns) = (spec.input.clone(), columns.to_vec());
                    problem(InputMissing { name, columns });
                }
            }
            name if known(name) => of_row = true,
            name => {
                of_row = true;
                problem(UnknownColumn { name: name.to_owned(), columns: columns.to_vec() });
            }
        }
    }
    let end = format.source().len();
    for (wrong, kind) in [(!answer, AnswerNotShown), (!of_row, NothingOfExample)] {
        if wrong {
            found.push(TemplateError::new(end..end, kind));
        }
    }
    found
}
