//! What a row's prompt looks like: a template, or one of the default layouts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::examples::ExampleText;
use crate::format::{FormatSpec, read_float};
use crate::marks::{Marked, Span};
use crate::template::Part;
use crate::{
    Example, PromptError, SPECIALS, ShowExamples, Template, TemplateError, TemplateProblem, hash,
};

/// The name that stands for a row's examples.
const CONTEXT: &str = "__context__";

/// The default for a task without examples.
const ZERO_SHOT: &str = "Input: {__sample__}\n\nTask: {__task__}\n\nAnswer:\n";

/// The default for a task with examples. What follows the examples is what each looks like.
const FEW_SHOT: &str = "Task: {__task__}\n\n\
Here are examples with their answers; what counts is the last input.\n\n\
{__context__}\n\nInput: {__sample__}\n\nAnswer:\n";

/// The default for a task with passages.
const WITH_PASSAGES: &str = "Task: {__task__}\n\n\
Here are passages that may help.\n\n\
{__context__}\n\nInput: {__sample__}\n\nAnswer:\n";

/// What a user writes about a prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutSpec {
    /// The template, if there is one.
    pub template: Option<String>,
    /// The task, if there is one.
    pub task: Option<String>,
    /// How examples are shown, if rows come with any.
    pub examples: Option<ShowExamples>,
    /// The column that `{__sample__}` shows.
    pub input: String,
    /// The column with the answer, which the template must not show.
    pub output: Option<String>,
    /// What a null reads as; without it a null is an error.
    pub null_text: Option<String>,
}

impl LayoutSpec {
    /// The column that answers stand in.
    pub(crate) fn answer_column(&self) -> &str {
        self.output.as_deref().unwrap_or("answer")
    }

    /// The template, or the default layout that takes its place.
    fn source(&self) -> Result<&str, TemplateError> {
        let (with_task, alone) = match &self.examples {
            Some(ShowExamples::InText { .. }) => (FEW_SHOT, None),
            Some(ShowExamples::Passages { .. }) => (WITH_PASSAGES, None),
            Some(ShowExamples::AsTurns) | None => (ZERO_SHOT, Some("{__sample__}")),
        };
        match (&self.template, &self.task) {
            (Some(template), _) => Ok(template),
            (None, Some(_)) => Ok(with_task),
            (None, None) => {
                alone.ok_or_else(|| TemplateError::new(0..0, TemplateProblem::TaskNeeded))
            }
        }
    }
}

/// One row, as the renderer takes it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The row's number, for messages.
    pub number: usize,
    /// The cells by column.
    pub cells: &'a Map<String, Value>,
    /// The examples chosen for it, in the order in which they are shown; none where none were chosen,
    /// which is an error if the layout shows examples.
    pub examples: Option<&'a [Example<'a>]>,
    /// The answer, where it is not the output column's cell.
    pub answer: Option<&'a str>,
}

impl<'a> Row<'a> {
    /// A row of these cells.
    pub fn new(number: usize, cells: &'a Map<String, Value>) -> Self {
        Self { number, cells, examples: None, answer: None }
    }

    pub(crate) fn cell(&self, column: &str) -> Result<&'a Value, PromptError> {
        self.cells.get(column).ok_or_else(|| PromptError::MissingColumn {
            row: self.number,
            column: column.to_owned(),
            have: self.cells.keys().cloned().collect(),
        })
    }
}

/// A checked layout.
#[derive(Debug, Clone)]
pub struct Layout {
    spec: Box<LayoutSpec>,
    template: Template,
    pieces: Vec<Piece>,
    slots: Vec<Slot>,
    fields: Vec<String>,
    /// How one example reads, where they stand in the text.
    example: Option<ExampleText>,
}

/// What a prompt is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    /// The texts that go into the slots.
    pub(crate) values: Vec<String>,
    /// The turns before the row's: what is asked and what is answered.
    pub(crate) turns: Vec<[String; 2]>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Slot(usize),
}

/// A place for a value; the same reference twice is one slot.
#[derive(Debug, Clone, PartialEq)]
struct Slot {
    field: usize,
    from: From,
    format: Option<FormatSpec>,
}

#[derive(Debug, Clone, PartialEq)]
enum From {
    Column(String),
    Sample,
    Context,
}

impl Layout {
    /// Checks a prompt against the columns of the data.
    ///
    /// # Errors
    /// All problems. Their ranges are bytes of `spec.template`; where there is none, they are empty.
    pub fn new(spec: &LayoutSpec, columns: &[String]) -> Result<Self, Vec<TemplateError>> {
        let template = Template::parse(spec.source().map_err(|problem| vec![problem])?)?;
        let mut found = check(spec, &template, columns);
        if spec.template.is_none() {
            for problem in &mut found {
                problem.range = 0..0;
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        let example = ExampleText::new(spec, &template, columns)?;
        let mut layout = Self { example, ..Self::compile(spec.clone(), template) };
        if layout.has_turns() {
            layout.fields.push(CONTEXT.to_owned());
        }
        Ok(layout)
    }

    /// The layout of a template that was checked.
    pub(crate) fn compile(spec: LayoutSpec, template: Template) -> Self {
        let parts = template.parts().to_vec();
        let (spec, pieces, slots, fields) = (Box::new(spec), vec![], vec![], vec![]);
        let mut layout = Self { spec, pieces, slots, fields, template, example: None };
        for part in &parts {
            layout.add(part);
        }
        layout
    }

    fn add(&mut self, part: &Part) {
        let field = match part {
            Part::Text(text) => return self.pieces.push(Piece::Text(text.clone())),
            Part::Field(field) => field,
        };
        let (from, name) = match field.name.as_str() {
            "__task__" => {
                let task = self.spec.task.clone().unwrap_or_default();
                return self.pieces.push(Piece::Text(task));
            }
            "__sample__" => (From::Sample, self.spec.input.as_str()),
            CONTEXT => (From::Context, CONTEXT),
            "__answer__" => {
                let column = self.spec.answer_column();
                (From::Column(column.to_owned()), column)
            }
            column => (From::Column(column.to_owned()), column),
        };
        let name = name.to_owned();
        let index = self.fields.iter().position(|f| *f == name).unwrap_or_else(|| {
            self.fields.push(name);
            self.fields.len() - 1
        });
        let slot = Slot { field: index, from, format: field.spec.clone() };
        let at = self.slots.iter().position(|s| *s == slot).unwrap_or_else(|| {
            self.slots.push(slot);
            self.slots.len() - 1
        });
        self.pieces.push(Piece::Slot(at));
    }

    /// The columns that the layout shows, and `__context__` where it shows that.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// The columns that the layout shows of the row itself.
    pub fn fields_of_rows(&self) -> Vec<String> {
        self.fields.iter().filter(|field| *field != CONTEXT).cloned().collect()
    }

    /// The template, a default one included.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// What it was made from.
    pub fn spec(&self) -> &LayoutSpec {
        &self.spec
    }

    /// The hash of all that decides the layout, for run folders.
    pub fn sha256(&self) -> String {
        let task = self.spec.task.as_deref();
        let parts = (self.template.source(), task, &self.spec.input, &self.spec.null_text);
        let mut parts = serde_json::json!(parts);
        if let (Some(examples), Some(parts)) = (&self.spec.examples, parts.as_array_mut()) {
            parts.push(serde_json::json!(examples));
        }
        hash::sha256(parts.to_string().as_bytes())
    }

    /// The prompt text of a row, without examples that are turns of their own.
    ///
    /// # Errors
    /// When a cell is missing, null, or not the number that a format needs.
    pub fn render(&self, row: &Row<'_>) -> Result<String, PromptError> {
        let all: Vec<&Example<'_>> = row.examples.unwrap_or_default().iter().collect();
        Ok(self.fill(&self.values(row, &all)?).text)
    }

    /// Whether examples are turns of the chat.
    pub(crate) fn has_turns(&self) -> bool {
        self.spec.examples == Some(ShowExamples::AsTurns)
    }

    /// Whether rows come with examples.
    pub(crate) fn shows_examples(&self) -> bool {
        self.spec.examples.is_some()
    }

    /// What the prompt of a row is made of, if it shows these of its examples.
    pub(crate) fn content(
        &self,
        row: &Row<'_>,
        shown: &[&Example<'_>],
    ) -> Result<Content, PromptError> {
        let turns = match self.spec.examples {
            Some(ShowExamples::AsTurns) => {
                shown.iter().map(|it| it.turns(self, row.number)).collect::<Result<_, _>>()?
            }
            _ => vec![],
        };
        Ok(Content { values: self.values(row, shown)?, turns })
    }

    fn values(&self, row: &Row<'_>, shown: &[&Example<'_>]) -> Result<Vec<String>, PromptError> {
        self.slots.iter().map(|slot| self.value(slot, row, shown)).collect()
    }

    fn value(
        &self,
        slot: &Slot,
        row: &Row<'_>,
        shown: &[&Example<'_>],
    ) -> Result<String, PromptError> {
        let (column, pretty) = match &slot.from {
            From::Context => {
                return match (&self.example, row.examples) {
                    (Some(example), Some(_)) => example.text(row.number, shown),
                    _ => Err(PromptError::MissingExamples { row: row.number }),
                };
            }
            From::Sample => (self.spec.input.as_str(), true),
            From::Column(column) => (column.as_str(), false),
        };
        let cell = row.cell(column)?;
        let Some(text) = cell_text(cell, pretty) else {
            return self.spec.null_text.clone().ok_or_else(|| PromptError::NullCell {
                row: row.number,
                column: column.to_owned(),
            });
        };
        let Some(format) = &slot.format else { return Ok(text) };
        let number = match cell {
            Value::Number(n) => n.as_f64(),
            Value::Bool(b) => Some(f64::from(u8::from(*b))),
            Value::String(s) => read_float(s),
            _ => None,
        };
        number.map(|n| format.apply(n)).ok_or_else(|| PromptError::NotANumber {
            row: row.number,
            column: column.to_owned(),
            value: text,
            spec: format.written().to_owned(),
        })
    }

    /// The text that every row has: the template's and the task.
    pub(crate) fn literal(&self) -> String {
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Slot(_) => None,
        });
        texts.collect()
    }

    /// Checks that a row can be shown as an example.
    ///
    /// # Errors
    /// As [`render`](Self::render), and when its answer is missing.
    pub fn check_example(&self, example: &Example<'_>) -> Result<(), PromptError> {
        let shown = match &self.example {
            Some(as_text) => as_text.text(0, &[example]).map(drop),
            None => example.turns(self, 0).map(drop),
        };
        match shown {
            Err(PromptError::Example { source, .. }) => Err(*source),
            other => other,
        }
    }

    /// Whether a slot holds text of the row, and not its examples.
    pub(crate) fn is_of_row(&self, slot: usize) -> bool {
        self.slots[slot].from != From::Context
    }

    /// The field that examples come from.
    pub(crate) fn example_field(&self) -> Option<usize> {
        self.fields.iter().position(|field| field == CONTEXT)
    }

    /// The field of each slot.
    pub(crate) fn slot_fields(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().map(|s| s.field)
    }

    /// The text with these values, and where they stand in it.
    pub(crate) fn fill(&self, values: &[String]) -> Marked {
        let mut marked = Marked::default();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => marked.text.push_str(text),
                Piece::Slot(at) => {
                    let start = marked.text.len();
                    marked.text.push_str(&values[*at]);
                    let field = self.slots[*at].field;
                    marked.spans.push(Span {
                        range: start..marked.text.len(),
                        field,
                        spoken: false,
                    });
                }
            }
        }
        marked
    }
}

fn check(spec: &LayoutSpec, template: &Template, columns: &[String]) -> Vec<TemplateError> {
    use TemplateProblem::*;
    let mut found = vec![];
    let (mut task, mut context, mut of_row) = (false, false, false);
    let missing = |name: &str| InputMissing { name: name.to_owned(), columns: columns.to_vec() };
    for field in template.fields() {
        let name = field.name.as_str();
        let mut problem = |kind| found.push(TemplateError::new(field.range.clone(), kind));
        if field.spec.is_some() && SPECIALS.contains(&name) && name != "__sample__" {
            let written = field.spec.as_ref().map(|s| s.written().to_owned());
            problem(Format(written.unwrap_or_default()));
        }
        match name {
            "__task__" => task = true,
            CONTEXT => context = true,
            "__sample__" => {
                of_row = true;
                if !columns.contains(&spec.input) {
                    problem(missing(&spec.input));
                }
            }
            _ if spec.output.as_deref() == Some(name) => {
                of_row = true;
                problem(OutputColumn(name.to_owned()));
            }
            _ if columns.iter().any(|c| c == name) => of_row = true,
            _ if name.len() > 4 && name.starts_with("__") && name.ends_with("__") => {
                of_row = true;
                problem(UnknownSpecial(name.to_owned()));
            }
            _ => {
                of_row = true;
                problem(UnknownColumn { name: name.to_owned(), columns: columns.to_vec() });
            }
        }
    }
    let turns = spec.examples == Some(ShowExamples::AsTurns);
    let in_text = spec.examples.is_some() && !turns;
    let end = template.source().len();
    let places = |wanted: &str| {
        template.fields().find(|f| f.name == wanted).map_or(end..end, |f| f.range.clone())
    };
    for (wrong, at, kind) in [
        (!of_row, end..end, NoReference),
        (spec.task.is_some() && !task, end..end, TaskNotShown),
        (spec.task.is_none() && task, places("__task__"), TaskMissing),
        (in_text && !context, end..end, ContextNotShown),
        (spec.examples.is_none() && context, places(CONTEXT), ContextMissing),
        (turns && context, places(CONTEXT), ContextBesideTurns),
    ] {
        if wrong {
            found.push(TemplateError::new(at, kind));
        }
    }
    found
}

/// A cell as text: texts as they are, everything else as JSON; none for null.
pub(crate) fn cell_text(cell: &Value, pretty: bool) -> Option<String> {
    match cell {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) if pretty => {
            Some(serde_json::to_string_pretty(cell).unwrap_or_default())
        }
        other => Some(other.to_string()),
    }
}
