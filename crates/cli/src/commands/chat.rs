//! `fidelio chat`: a conversation at the terminal.

use std::path::PathBuf;

use fidelio::{
    Error, Generator,
    generate::Decoding,
    prompting::{Conversation, Message},
};
use rustyline::{DefaultEditor, error::ReadlineError};

use super::generate::{DecodingFlags, Sink, say_usage};
use crate::{
    args::{Global, ModelFlags},
    failure::Failure,
    interrupt,
    ui::{self, Ui, errors},
};

const HELP: &str = "\
/system TEXT  begin anew with this system message; without TEXT, with none
/reset        begin anew
/help         show this
/quit         leave, as Ctrl-D does
Ctrl-C stops an answer.";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelFlags,
    /// A system message.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    decoding: DecodingFlags,
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    args.decoding.over(Decoding::default())?;
    let machine = super::machine(global)?;
    interrupt::listen();
    let generator = args.model.open(&machine, ui)?;
    if !generator.has_chat_template() {
        return Err(Failure::usage_with(
            format!("`{}` has no chat template, so it cannot talk", args.model.name()),
            "take an instruct model, or continue a text with `fidelio generate --raw`",
        ));
    }
    let decoding = args.decoding.over(generator.decoding()?)?;
    let history = machine.settings().cache_dir.value.join("chat_history");
    let mut talk = Talk { ui, generator, decoding, messages: Vec::new() };
    talk.begin(args.system.as_deref());
    ui.note(format!("{} is listening; `/help` shows what else you can type", args.model.name()));
    talk.run(&mut Lines::open(history)?)
}

/// What a user typed.
#[derive(Debug, PartialEq, Eq)]
enum Typed<'a> {
    Say(&'a str),
    System(Option<&'a str>),
    Reset,
    Help,
    Quit,
    Unknown(&'a str),
    Nothing,
}

fn read(line: &str) -> Typed<'_> {
    let line = line.trim();
    let Some(command) = line.strip_prefix('/') else {
        return if line.is_empty() { Typed::Nothing } else { Typed::Say(line) };
    };
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = Some(rest.trim()).filter(|rest| !rest.is_empty());
    match (name, rest) {
        ("system", text) => Typed::System(text),
        ("reset" | "clear", None) => Typed::Reset,
        ("help" | "?", None) => Typed::Help,
        ("quit" | "exit" | "bye", None) => Typed::Quit,
        _ => Typed::Unknown(line),
    }
}

/// The conversation under way.
struct Talk<'a> {
    ui: &'a Ui,
    generator: Generator,
    decoding: Decoding,
    messages: Vec<Message>,
}

impl Talk<'_> {
    fn run(&mut self, lines: &mut Lines) -> Result<(), Failure> {
        while let Some(line) = lines.next(self.ui)? {
            match read(&line) {
                Typed::Nothing => {}
                Typed::Quit => break,
                Typed::Help => ui::complain(HELP),
                Typed::Unknown(line) => {
                    ui::complain(&format!("`{line}` is none of these:\n{HELP}"));
                }
                Typed::Reset => {
                    let system = self.messages.first().filter(|it| it.role() == "system");
                    let system = system.and_then(Message::text).map(str::to_owned);
                    self.begin(system.as_deref());
                    self.ui.note("begun anew");
                }
                Typed::System(text) => {
                    self.begin(text);
                    self.ui.note(match text {
                        Some(_) => "begun anew with this system message",
                        None => "begun anew without a system message",
                    });
                }
                Typed::Say(text) => self.answer(text)?,
            }
        }
        lines.save();
        Ok(())
    }

    fn begin(&mut self, system: Option<&str>) {
        self.messages = system.map(|text| Message::new("system", text)).into_iter().collect();
    }

    /// Answers, and remembers both sides. What cannot be answered is not remembered.
    fn answer(&mut self, text: &str) -> Result<(), Failure> {
        self.messages.push(Message::new("user", text));
        interrupt::reset();
        match self.try_answer() {
            Ok(answer) if !answer.is_empty() => {
                self.messages.push(Message::new("assistant", answer));
            }
            Ok(_) => drop(self.messages.pop()),
            Err(failure @ Failure::Library(Error::Prompt(_) | Error::Generate(_))) => {
                self.messages.pop();
                errors::report(self.ui, &failure);
                self.ui.note("`/reset` begins anew");
            }
            Err(failure) => return Err(failure),
        }
        interrupt::reset();
        Ok(())
    }

    fn try_answer(&mut self) -> Result<String, Failure> {
        let conversation = Conversation::new(self.messages.clone());
        let ids = self.generator.conversation(&conversation)?;
        let mut sink = Sink::new(self.ui);
        let generated =
            self.generator.generate(&ids, self.decoding.clone(), &mut |text| sink.take(text))?;
        sink.end(&generated)?;
        if self.ui.is_json() {
            self.ui.json(&generated)?;
        }
        say_usage(self.ui, &generated);
        Ok(generated.text)
    }
}

/// Lines from the terminal, with editing and a history; or from a pipe, as they are.
struct Lines {
    editor: DefaultEditor,
    history: PathBuf,
}

impl Lines {
    fn open(history: PathBuf) -> Result<Self, Failure> {
        let mut editor = DefaultEditor::new().map_err(stdin_failed)?;
        // The first time there is none.
        drop(editor.load_history(&history));
        Ok(Self { editor, history })
    }

    /// The next line; none at the end.
    fn next(&mut self, ui: &Ui) -> Result<Option<String>, Failure> {
        loop {
            match self.editor.readline("> ") {
                Ok(line) => {
                    if !line.trim().is_empty() {
                        drop(self.editor.add_history_entry(line.as_str()));
                    }
                    return Ok(Some(line));
                }
                Err(ReadlineError::Eof) => return Ok(None),
                Err(ReadlineError::Interrupted) => ui.note("Ctrl-D or `/quit` leaves"),
                Err(error) => return Err(stdin_failed(error)),
            }
        }
    }

    /// Keeps the history where the cache is; a chat without a cache folder goes without.
    fn save(&mut self) {
        if let Some(folder) = self.history.parent() {
            drop(std::fs::create_dir_all(folder));
        }
        drop(self.editor.save_history(&self.history));
    }
}

fn stdin_failed(error: ReadlineError) -> Failure {
    let source = match error {
        ReadlineError::Io(source) => source,
        other => std::io::Error::other(other),
    };
    Failure::Read { path: "stdin".into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_with_a_slash_is_a_command() {
        let cases = [
            ("hello /reset", Typed::Say("hello /reset")),
            ("  ", Typed::Nothing),
            ("/system  You are terse. ", Typed::System(Some("You are terse."))),
            ("/system", Typed::System(None)),
            ("/reset", Typed::Reset),
            ("/reset now", Typed::Unknown("/reset now")),
            ("/quit", Typed::Quit),
            ("/rest", Typed::Unknown("/rest")),
        ];
        for (line, typed) in cases {
            assert_eq!(read(line), typed, "{line}");
        }
    }
}
