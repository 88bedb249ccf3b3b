//! What a row's prompt looks like: a template, or one of the default layouts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::format::{FormatSpec, read_float};
use crate::marks::{Marked, Span};
use crate::template::Part;
use crate::{PromptError, SPECIALS, Template, TemplateError, TemplateProblem, hash};

/// The default for a task without examples.
const ZERO_SHOT: &str = "Input: {__sample__}\n\nTask: {__task__}\n\nAnswer:\n";

/// The default for a task with retrieved examples.
const FEW_SHOT: &str = "Here are examples that may help.\n\
Examples:\n{__context__}\n\n\
The examples are labelled inputs that were chosen because they are close to the input below.\n\
Their answers may be right for the input below, too,\n\
but the input below is what counts.\n\n\
Input: {__sample__}\n\nTask: {__task__}\n\nAnswer:\n";

/// What a user writes about a prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutSpec {
    /// The template, if there is one.
    pub template: Option<String>,
    /// The task, if there is one.
    pub task: Option<String>,
    /// Whether rows come with retrieved context.
    pub retrieval: bool,
    /// The column that `{__sample__}` shows.
    pub input: String,
    /// The column with the answer, which the template must not show.
    pub output: Option<String>,
    /// What a null reads as; without it a null is an error.
    pub null_text: Option<String>,
}

/// One row, as the renderer takes it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The row's number, for messages.
    pub number: usize,
    /// The cells by column.
    pub cells: &'a Map<String, Value>,
    /// What retrieval found for it, as text.
    pub context: Option<&'a str>,
    /// The answer, where it is not the output column's cell.
    pub answer: Option<&'a str>,
}

impl<'a> Row<'a> {
    /// A row of these cells.
    pub fn new(number: usize, cells: &'a Map<String, Value>) -> Self {
        Self { number, cells, context: None, answer: None }
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
    spec: LayoutSpec,
    template: Template,
    pieces: Vec<Piece>,
    slots: Vec<Slot>,
    fields: Vec<String>,
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
        let source = match (&spec.template, &spec.task, spec.retrieval) {
            (Some(template), _, _) => template.as_str(),
            (None, Some(_), true) => FEW_SHOT,
            (None, Some(_), false) => ZERO_SHOT,
            (None, None, false) => "{__sample__}",
            (None, None, true) => {
                return Err(vec![TemplateError { range: 0..0, kind: TemplateProblem::TaskNeeded }]);
            }
        };
        let template = Template::parse(source)?;
        let mut found = check(spec, &template, columns);
        if spec.template.is_none() {
            for problem in &mut found {
                problem.range = 0..0;
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        let mut layout = Self {
            spec: spec.clone(),
            pieces: vec![],
            slots: vec![],
            fields: vec![],
            template: template.clone(),
        };
        for part in template.parts() {
            layout.add(part);
        }
        Ok(layout)
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
            "__context__" => (From::Context, "__context__"),
            column => (From::Column(column.to_owned()), column),
        };
        let index = self.fields.iter().position(|f| f == name).unwrap_or_else(|| {
            self.fields.push(name.to_owned());
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
        hash::sha256(serde_json::json!(parts).to_string().as_bytes())
    }

    /// The prompt text of a row.
    ///
    /// # Errors
    /// When a cell is missing, null, or not the number that a format needs.
    pub fn render(&self, row: &Row<'_>) -> Result<String, PromptError> {
        Ok(self.fill(&self.values(row)?).text)
    }

    /// The texts that go into the slots.
    pub(crate) fn values(&self, row: &Row<'_>) -> Result<Vec<String>, PromptError> {
        self.slots.iter().map(|slot| self.value(slot, row)).collect()
    }

    fn value(&self, slot: &Slot, row: &Row<'_>) -> Result<String, PromptError> {
        let (column, pretty) = match &slot.from {
            From::Context => {
                let missing = || PromptError::MissingContext { row: row.number };
                return row.context.map(ToOwned::to_owned).ok_or_else(missing);
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
        let mut problem = |kind| found.push(TemplateError { range: field.range.clone(), kind });
        if field.spec.is_some() && SPECIALS.contains(&name) && name != "__sample__" {
            let written = field.spec.as_ref().map(|s| s.written().to_owned());
            problem(Format(written.unwrap_or_default()));
        }
        match name {
            "__task__" => task = true,
            "__context__" => context = true,
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
    let end = template.source().len();
    let places = |wanted: &str| {
        template.fields().find(|f| f.name == wanted).map_or(end..end, |f| f.range.clone())
    };
    for (wrong, at, kind) in [
        (!of_row, end..end, NoReference),
        (spec.task.is_some() && !task, end..end, TaskNotShown),
        (spec.task.is_none() && task, places("__task__"), TaskMissing),
        (spec.retrieval && !context, end..end, ContextNotShown),
        (!spec.retrieval && context, places("__context__"), ContextMissing),
    ] {
        if wrong {
            found.push(TemplateError { range: at, kind });
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
