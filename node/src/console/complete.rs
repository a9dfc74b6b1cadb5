//! What the Tab key offers: commands, blueprints, files, and the names that the live process has.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};
use tokio::runtime::Handle;

use super::blueprints;
use super::commands::HELP;
use super::session::{Asker, collects};

/// How long the user waits for names.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long names count as those of now.
const FRESH: Duration = Duration::from_secs(2);

/// Lua that lists the names of globals, and of the fields of those that are tables of moderate size.
const NAMES: &str = r#"local names, left = {}, 5000
local function add(prefix, fields, deeper)
  pcall(function()
    for key, value in pairs(fields) do
      if left == 0 then return end
      if type(key) == "string" and key:match("^[%a_][%w_]*$") then
        names[#names + 1], left = prefix .. key, left - 1
        if deeper and type(value) == "table" and value ~= _G then add(prefix .. key .. ".", value, false) end
      end
    end
  end)
end
add("", _G, true)
return table.concat(names, "\n")"#;

/// Helps with the line that is typed.
pub(super) struct Completion {
    asker: Asker,
    runtime: Handle,
    files: FilenameCompleter,
    names: RefCell<(Option<Instant>, Vec<String>)>,
}

impl Completion {
    /// Asks the process when Tab is pressed. Not to be used on a thread of the runtime.
    pub(super) fn new(asker: Asker, runtime: Handle) -> Completion {
        Completion { asker, runtime, files: FilenameCompleter::new(), names: RefCell::default() }
    }

    /// The names that begin with a text.
    fn names(&self, start: &str) -> Vec<String> {
        let mut known = self.names.borrow_mut();
        if known.0.is_none_or(|then| then.elapsed() > FRESH) {
            let asked = async { tokio::time::timeout(PATIENCE, self.asker.ask(NAMES)).await };
            // A process that does not answer in time keeps the names that it had.
            if let Ok(Ok(names)) = self.runtime.block_on(asked) {
                *known = (Some(Instant::now()), names.lines().map(str::to_string).collect());
            }
        }
        offers(&known.1, start)
    }
}

/// Names that begin with a text, one step at a time: fields only behind their table.
fn offers(names: &[String], start: &str) -> Vec<String> {
    let steps = start.matches('.').count();
    let fit = |name: &&String| name.starts_with(start) && name.matches('.').count() == steps;
    names.iter().filter(fit).cloned().collect()
}

/// Where the name begins that ends at the end of the text.
fn name_start(text: &str) -> usize {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    text.rfind(|letter| !is_part(letter)).map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8))
}

fn pairs(words: impl IntoIterator<Item = String>) -> Vec<Pair> {
    words.into_iter().map(|word| Pair { display: word.clone(), replacement: word }).collect()
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, context: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..position];
        if typed.starts_with(".load ") {
            return self.files.complete(line, position, context);
        }
        if let Some(start) = typed.strip_prefix(".load-blueprint ") {
            let fit = blueprints::names().into_iter().filter(|name| name.starts_with(start.trim_start()));
            return Ok((position - start.trim_start().len(), pairs(fit.map(str::to_string))));
        }
        if typed.starts_with('.') && !typed.contains(' ') {
            let commands = HELP.iter().filter_map(|(usage, _)| usage.split(' ').next());
            return Ok((0, pairs(commands.filter(|name| name.starts_with(typed)).map(str::to_string))));
        }
        let start = name_start(typed);
        match &typed[start..] {
            "" => Ok((position, Vec::new())),
            name => Ok((start, pairs(self.names(name)))),
        }
    }
}

/// Whether what was typed ends in empty lines: who leaves two of them wants to hear what is missing. Not in `.editor`,
/// which has an end of its own.
fn gives_up(typed: &str) -> bool {
    typed.ends_with("\n\n") && !typed.trim_start().starts_with('.')
}

impl Validator for Completion {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let typed = context.input();
        Ok(if collects(typed) && !gives_up(typed) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}

impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_empty_lines_end_what_is_not_whole() {
        assert!(gives_up("x = 1; x\n\n") && !gives_up("x = 1; x\n") && !gives_up(".editor\n\n"));
    }

    #[test]
    fn names_are_offered_one_step_at_a_time() {
        let names: Vec<String> = ["Handlers", "Handlers.add", "Handlers.append", "Hash"].map(String::from).to_vec();
        assert_eq!(offers(&names, "Ha"), ["Handlers", "Hash"]);
        assert_eq!(offers(&names, "Handlers.a"), ["Handlers.add", "Handlers.append"]);
        assert_eq!(offers(&names, "Handlers."), ["Handlers.add", "Handlers.append"]);
        assert_eq!((name_start("x = Handlers.a"), name_start("Inb"), name_start("f(")), (4, 0, 2));
        assert_eq!(name_start("é = Inb"), 5);
    }
}
