//! The lines that begin with a point: about the process instead of for it.

use std::path::PathBuf;

use anyhow::Result;

use super::session::Session;
use super::{blueprints, chunk, load, trace};
use crate::cli::output;

/// Messages that `.inbox` shows.
const SHOWN_MESSAGES: usize = 10;
/// Ends what was begun with `.editor`: to be evaluated, or to be forgotten.
const DONE: &str = ".done";
const CANCEL: &str = ".cancel";

/// What there is, for `.help` and for completion.
pub(super) const HELP: [(&str, &str); 10] = [
    (".load FILE", "evaluate a file, with the local files that it requires"),
    (".load-blueprint NAME", "add a program that comes with the console"),
    (".editor", "type several lines; .done evaluates them, .cancel forgets them"),
    (".dryrun LUA", "see what Lua would do, without doing it; alone: for all lines from now on"),
    (".inbox [N]", "the last messages that nobody handled"),
    (".trace [MESSAGE]", "what became of a message and of those that it caused; alone: of the last one"),
    (".process", "the id of this process"),
    (".help", "this"),
    (".exit", "leave; the process stays as it is"),
    (".quit", "the same"),
];

/// What to do after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    /// The same, but it ended in an error.
    Failed,
    Leave,
}

impl Next {
    /// Whether it ended without an error.
    pub(super) fn is_good(self) -> bool {
        self != Next::Failed
    }
}

/// A line that begins with a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Leave,
    Process,
    Load(PathBuf),
    Blueprint(String),
    /// Lines so far; how they ended: evaluate them or not.
    Editor(String, Option<bool>),
    DryRun(Option<String>),
    Inbox(usize),
    Trace(Option<String>),
}

impl Command {
    /// Reads a command; none if the text is Lua.
    pub(super) fn parse(text: &str) -> Option<Result<Command, String>> {
        let text = text.trim();
        // Lua has no statement that begins with a point, and no number here is meant as one.
        let rest = text.strip_prefix('.').filter(|rest| rest.starts_with(|letter: char| letter.is_alphabetic()))?;
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (name, argument) = (&rest[..end], rest[end..].trim());
        let given = (!argument.is_empty()).then(|| argument.to_string());
        Some(match name {
            "help" => Ok(Command::Help),
            "exit" | "quit" => Ok(Command::Leave),
            "process" => Ok(Command::Process),
            "load" => given.map(|path| Command::Load(path.into())).ok_or_else(|| ".load needs a file".into()),
            "load-blueprint" => Ok(Command::Blueprint(argument.to_string())),
            "editor" => Ok(editor(argument)),
            "dryrun" => Ok(Command::DryRun(given)),
            "inbox" if argument.is_empty() => Ok(Command::Inbox(SHOWN_MESSAGES)),
            "inbox" => argument.parse().map(Command::Inbox).map_err(|_| format!("{argument:?} is no number")),
            "trace" => Ok(Command::Trace(given)),
            _ => Err(format!("there is no command .{name}; .help lists them")),
        })
    }

    /// Whether it goes on in another line.
    pub(super) fn collects(&self) -> bool {
        match self {
            Command::Editor(_, end) => end.is_none(),
            Command::DryRun(Some(lua)) => chunk::is_incomplete(lua),
            _ => false,
        }
    }

    /// Does it.
    pub(super) async fn execute(self, session: &mut Session) -> Result<Next> {
        let good = match self {
            Command::Leave => return Ok(Next::Leave),
            Command::Help => {
                HELP.iter().for_each(|(usage, what)| println!("{usage:<22} {what}"));
                println!("Blueprints: {}.", blueprints::names().join(", "));
                println!(
                    "Anything else is Lua. What breaks off at its end goes on in the next line; two empty lines end it."
                );
                println!("Tab completes names, Ctrl-R searches earlier lines, Ctrl-C gives up a line.");
                true
            }
            Command::Process => {
                println!("{}", session.process());
                true
            }
            Command::Load(path) => match load::bundle(&path) {
                Ok(lua) => session.evaluate(&lua).await?,
                Err(cause) => refused(&format!("{cause:#}")),
            },
            Command::Blueprint(name) => match blueprints::source(&name) {
                Ok(lua) => {
                    let good = session.evaluate(lua).await?;
                    if good {
                        println!("{name} is loaded.");
                    }
                    good
                }
                Err(cause) => refused(&cause),
            },
            Command::Editor(lua, Some(true)) => session.evaluate(&lua).await?,
            Command::Editor(..) => true,
            Command::DryRun(Some(lua)) => session.dry_run(&lua).await?,
            Command::DryRun(None) => {
                session.dry = !session.dry;
                println!("{}", if session.dry { "Lines are not kept from now on." } else { "Lines are kept again." });
                true
            }
            Command::Inbox(count) => {
                let shown = session.ask(&inbox(count)).await;
                shown
                    .map(|text| println!("{}", output::shown(&text, false)))
                    .map_err(|cause| refused(&format!("{cause:#}")))
                    .is_ok()
            }
            Command::Trace(message) => trace::show(session, message.as_deref()).await?,
        };
        Ok(if good { Next::Go } else { Next::Failed })
    }
}

fn refused(cause: &str) -> bool {
    eprintln!("{cause}");
    false
}

/// The lines behind `.editor`, up to how they end.
fn editor(lines: &str) -> Command {
    let last = lines.lines().last().map_or("", str::trim);
    let body = || lines[..lines.rfind(last).unwrap_or(0)].to_string();
    match last {
        DONE => Command::Editor(body(), Some(true)),
        CANCEL => Command::Editor(String::new(), Some(false)),
        _ => Command::Editor(lines.to_string(), None),
    }
}

/// Lua that describes the last messages of the inbox, one a line.
fn inbox(count: usize) -> String {
    format!(
        r#"local lines = {{ #Inbox .. (#Inbox == 1 and " message" or " messages") }}
for place = math.max(1, #Inbox - {count} + 1), #Inbox do
  local msg = Inbox[place]
  local data = tostring(msg.Data or ""):gsub("\27%[[%d;]*m", ""):gsub("[%s%c]+", " ")
  if #data > 60 then data = data:sub(1, 57) .. "..." end
  lines[#lines + 1] = ("%5d  %s  %s  %s"):format(place, tostring(msg.From), tostring(msg.Action or "-"), data)
end
return table.concat(lines, "\n")"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Command {
        Command::parse(text).unwrap().unwrap()
    }

    #[test]
    fn commands_begin_with_a_point_and_all_else_is_lua() {
        assert_eq!(parsed(" .exit "), Command::Leave);
        assert_eq!(parsed(".load  a b.lua"), Command::Load("a b.lua".into()));
        assert_eq!(parsed(".dryrun 1 + 1"), Command::DryRun(Some("1 + 1".into())));
        assert_eq!((parsed(".dryrun"), parsed(".inbox")), (Command::DryRun(None), Command::Inbox(10)));
        assert_eq!(parsed(".trace"), Command::Trace(None));
        for text in ["x = 1", "", ".5 + 1", "..", "-- .exit"] {
            assert_eq!(Command::parse(text), None, "{text}");
        }
        assert!(Command::parse(".inbox x").unwrap().is_err() && Command::parse(".load").unwrap().is_err());
        assert!(Command::parse(".nonsense").unwrap().unwrap_err().contains(".help"));
        for (usage, _) in HELP {
            let name = usage.split(' ').next().unwrap();
            assert!(Command::parse(&format!("{name} 1")).unwrap().is_ok(), "{usage}");
        }
    }

    #[test]
    fn an_editor_collects_until_it_is_done() {
        assert!(parsed(".editor").collects() && parsed(".editor\nx = 1\n\ny = 2").collects());
        let done = parsed(".editor\nx = 1\ny = 2\n.done");
        assert_eq!(done, Command::Editor("x = 1\ny = 2\n".into(), Some(true)));
        assert!(!done.collects());
        assert_eq!(parsed(".editor\nx\n.cancel"), Command::Editor(String::new(), Some(false)));
        assert!(parsed(".dryrun function f()").collects() && !parsed(".dryrun 1").collects());
    }
}
