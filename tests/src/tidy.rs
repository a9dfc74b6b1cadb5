//! Rules of style as checks: what every file must be like, and what may stand at the top of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Most lines of a Rust file without its tests.
const MAX_LINES: usize = 400;
/// Most characters of a line.
const MAX_WIDTH: usize = 120;
/// What the top level may hold besides files whose names begin with a dot.
const TOP_LEVEL: [&str; 7] = ["Cargo.toml", "Cargo.lock", "node", "protocol", "testnet", "tests", "README.md"];
/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "helpers", "common", "misc", "types"];

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// All files that git knows, or would take, with their texts; those that are not text are left out.
pub fn files() -> Vec<(String, String)> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap_or_else(|cause| panic!("git can't be run: {cause}"));
    let names = String::from_utf8_lossy(&listing.stdout).into_owned();
    assert!(!names.is_empty(), "git lists no files");
    let read = |name: &str| Some((name.to_string(), std::fs::read_to_string(root().join(name)).ok()?));
    names.lines().filter_map(read).collect()
}

/// What is wrong with a file; empty when nothing is.
pub fn complaints(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut say = |text: String| complaints.push(format!("{name}: {text}"));
    let top = name.split('/').next().unwrap_or_default();
    if !top.starts_with('.') && !TOP_LEVEL.contains(&top) {
        say("does not belong at the top level".into());
    }
    let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if EMPTY_NAMES.contains(&stem) {
        say("its name says nothing; name it for its concept".into());
    }
    // Spelled in parts, so that this file does not complain of itself.
    for part in [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"]] {
        if text.contains(&part.concat()) {
            say(format!("names a path of some machine: {}", part.concat()));
        }
    }
    let code = name.ends_with(".rs");
    if code {
        if !text.starts_with("//!") {
            say("does not open with //!".into());
        }
        let own = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default().lines().count();
        if own > MAX_LINES && !name.contains("/tests/") {
            say(format!("{own} lines without tests; at most {MAX_LINES}"));
        }
    }
    if name.ends_with(".lua") && !text.starts_with("--") {
        say("does not open with a comment that says what it is".into());
    }
    if code || name.ends_with(".lua") || name.ends_with(".sh") || name.ends_with(".mjs") {
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            if line.chars().count() > MAX_WIDTH && !line.contains('"') {
                say(format!("line {number} has {} characters; at most {MAX_WIDTH}", line.chars().count()));
            }
            for word in [["TO", "DO"], ["FIX", "ME"], ["todo", "!("], ["unimplemented", "!("]] {
                if line.contains(&word.concat()) {
                    say(format!("line {number}: {}", word.concat()));
                }
            }
        }
    }
    complaints
}

/// Files of tests that `tests/run` does not name: nobody would notice if they failed.
pub fn tests_not_run(files: &[(String, String)]) -> Vec<String> {
    let run = files.iter().find(|(name, _)| name == "tests/run").map_or("", |(_, text)| text);
    let named: Vec<&str> = run.split("--test ").skip(1).filter_map(|rest| rest.split_whitespace().next()).collect();
    let test = |name: &str| {
        let (folder, file) = name.strip_suffix(".rs")?.rsplit_once('/')?;
        (folder.ends_with("/tests") && !named.contains(&file)).then(|| name.to_string())
    };
    files.iter().filter_map(|(name, _)| test(name)).collect()
}

/// The named limits of the sources: public constants whose names begin with `MAX_`.
pub fn limits(files: &[(String, String)]) -> Vec<String> {
    let ours = files.iter().filter(|(name, _)| {
        name.ends_with(".rs") && (name.starts_with("protocol/src") || name.starts_with("node/src"))
    });
    let lines = ours.flat_map(|(_, text)| text.lines());
    let name = |line: &str| {
        let rest = line.trim().strip_prefix("pub const ")?;
        let name = rest.split(':').next()?.trim();
        name.starts_with("MAX_").then(|| name.to_string())
    };
    let mut limits: Vec<String> = lines.filter_map(name).collect();
    limits.sort();
    limits.dedup();
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complains(name: &str, text: &str, expected: &str) {
        let found = complaints(name, text);
        assert!(found.iter().any(|complaint| complaint.contains(expected)), "{name}: {found:?}");
    }

    #[test]
    fn what_is_wrong_is_noticed() {
        complains("LICENSE", "", "top level");
        complains("node/src/utils.rs", "//! x", "says nothing");
        complains("node/src/a.rs", "fn a() {}", "does not open with");
        complains("node/src/a.rs", &format!("//! x\n{}", "\n".repeat(MAX_LINES)), "lines without tests");
        complains("node/src/a.rs", &format!("//! x\n// {}", "x".repeat(MAX_WIDTH)), "characters");
        complains("node/src/a.rs", &["//! x\n// TO", "DO"].concat(), "line 2");
        complains("node/runtime/a.lua", "x = 1", "comment");
        complains("README.md", &["see /ro", "ot/x"].concat(), "path of some machine");
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let long_tests = format!("//! x\nfn a() {{}}\n#[cfg(test)]\nmod tests {{{}}}", "\n".repeat(MAX_LINES));
        assert_eq!(complaints("node/src/a.rs", &long_tests), Vec::<String>::new());
        assert_eq!(complaints(".gitignore", ""), Vec::<String>::new());
    }

    #[test]
    fn a_test_that_is_not_run_is_noticed() {
        let file = |name: &str, text: &str| (name.to_string(), text.to_string());
        let files = [
            file("tests/run", "cargo test --test one --test two"),
            file("node/tests/one.rs", ""),
            file("node/tests/three.rs", ""),
            file("node/tests/one/part.rs", ""),
        ];
        assert_eq!(tests_not_run(&files), ["node/tests/three.rs"]);
    }

    #[test]
    fn limits_are_found() {
        let file = ("node/src/a.rs".to_string(), "pub const MAX_A: u8 = 1;\nconst MAX_B: u8 = 2;".to_string());
        assert_eq!(limits(&[file]), ["MAX_A"]);
    }
}
