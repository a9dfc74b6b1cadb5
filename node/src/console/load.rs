//! `.load`: a file as one chunk, with the local files that it requires. Modules go in front as texts that are compiled
//! under their files' names, all on the first line, so that errors name the lines that the user sees.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Most files that one file may bring along.
const MAX_MODULES: usize = 256;

/// A file's chunk.
pub(super) fn bundle(path: &Path) -> Result<String> {
    let mut bundle = Bundle { folder: path.parent().map(Path::to_path_buf).unwrap_or_default(), ..Bundle::default() };
    let text = read(path)?;
    bundle.require_all(&text)?;
    Ok(bundle.modules + &text)
}

#[derive(Default)]
struct Bundle {
    folder: PathBuf,
    modules: String,
    done: BTreeSet<String>,
    /// Modules that are being read: who requires whom.
    open: Vec<String>,
}

impl Bundle {
    /// Adds what a text requires and what that requires, before it.
    fn require_all(&mut self, text: &str) -> Result<()> {
        for name in required(text) {
            if self.done.contains(&name) {
                continue;
            }
            let Some(path) = self.file_of(&name) else { continue };
            if self.open.contains(&name) {
                bail!("modules require each other in a circle: {} → {name}", self.open.join(" → "));
            }
            if self.done.len() == MAX_MODULES {
                bail!("more than {MAX_MODULES} files are required");
            }
            let source = read(&path)?;
            self.open.push(name.clone());
            self.require_all(&source)?;
            self.open.pop();
            let shown = path.file_name().unwrap_or_default().to_string_lossy();
            // What was loaded before under this name is replaced: files change while one works on them.
            self.modules.push_str(&format!(
                "package.preload[{name}] = assert(load({source}, {chunk})) package.loaded[{name}] = nil ",
                name = quoted(&name),
                source = quoted(&source),
                chunk = quoted(&format!("={shown}")),
            ));
            self.done.insert(name);
        }
        Ok(())
    }

    /// The local file of a module: `a.b` is `a/b.lua`. Others are the process's own, such as json.
    fn file_of(&self, name: &str) -> Option<PathBuf> {
        let relative = name.trim_start_matches("./").trim_start_matches('.').replace('.', "/");
        let candidates = [format!("{relative}.lua"), format!("{relative}/init.lua"), name.to_string()];
        candidates.iter().map(|candidate| self.folder.join(candidate)).find(|path| path.is_file())
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
    String::from_utf8(bytes).ok().with_context(|| format!("{} is no text", path.display()))
}

/// The names in `require "name"` and `require("name")`, in order; those in comments do not count.
fn required(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in text.lines() {
        let code = line.split("--").next().unwrap_or_default();
        let mut rest = code;
        while let Some(at) = rest.find("require") {
            let before = rest[..at].chars().next_back();
            rest = &rest[at + "require".len()..];
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == '.') {
                continue;
            }
            let argument = rest.trim_start().trim_start_matches('(').trim_start();
            let Some(quote) = argument.chars().next().filter(|letter| matches!(letter, '"' | '\'')) else { continue };
            if let Some((name, _)) = argument[1..].split_once(quote) {
                names.push(name.to_string());
            }
        }
    }
    names
}

/// A text as Lua writes it, on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\0' => quoted.push_str("\\000"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_file_brings_what_it_requires_and_runs() {
        let folder = folder(&[
            (
                "main.lua",
                "local a = require('lib.a')\nlocal json = require \"json\"\n-- require('nothing')\nreturn a.x .. json",
            ),
            ("lib/a.lua", "local b = require(\"b\")\nreturn { x = b .. \"\\\\ \\\"q\\\" \" }"),
            ("b.lua", "return 'b\\n'"),
        ]);
        let chunk = bundle(&folder.path().join("main.lua")).unwrap();
        let lua = mlua::Lua::new();
        lua.load("package.preload.json = function() return 'json' end").exec().unwrap();
        let said: String = lua.load(&chunk).eval().unwrap();
        assert_eq!(said, "b\n\\ \"q\" json");
        assert_eq!(chunk.lines().count(), 4, "lines are where they were");
    }

    #[test]
    fn circles_and_missing_files_are_told() {
        let folder = folder(&[("main.lua", "require('a')"), ("a.lua", "require('b')"), ("b.lua", "require('a')")]);
        let cause = bundle(&folder.path().join("main.lua")).unwrap_err().to_string();
        assert!(cause.contains("a → b → a"), "{cause}");
        assert!(bundle(&folder.path().join("none.lua")).unwrap_err().to_string().contains("can't be read"));
    }
}
