//! The console as scripts use it: the real program against a real node.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ao_tests::nodes::{TestNode, program, wait_for_async};
use tempfile::TempDir;

/// A person: a home with a wallet, and a node to talk to.
struct Person<'a> {
    home: TempDir,
    node: &'a TestNode,
}

impl Person<'_> {
    fn new(node: &TestNode) -> Person<'_> {
        Person { home: tempfile::tempdir().unwrap(), node }
    }

    fn console(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(program())
            .arg("console")
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("AO_NODE", &self.node.url)
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A console that was given lines to run reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// What it prints when all goes well.
    fn says(&self, arguments: &[&str], input: &str) -> String {
        let output = self.console(arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} {input}: {errors}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_string()
    }

    /// What it complains of.
    fn fails(&self, arguments: &[&str], input: &str) -> String {
        let output = self.console(arguments, input);
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {input}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_finds_its_process_again() {
    let node = TestNode::start("mu,su,cu", None);
    let neo = Person::new(&node);
    let id = neo.says(&["neo", "--run", ".process"], "");
    assert_eq!(neo.says(&["neo", "--run", "x = 41", "--run", "x + 1"], ""), "42");
    assert_eq!(neo.says(&["neo"], "x\n.process\n"), format!("41\n{id}"), "by its name");
    assert_eq!(neo.says(&[&id], "x"), "41", "by its id");
    assert_ne!(neo.says(&["other"], ".process"), id);
    // Somebody else's process of this name is another one; theirs can be looked at, not evaluated in.
    let trinity = Person::new(&node);
    assert_ne!(trinity.says(&["neo"], ".process"), id);
    assert_eq!(trinity.says(&[&id], "x = 1"), "New Message From … Action = Eval".replace('…', &short(&trinity, &node)));
    assert_eq!(neo.says(&["neo"], "x"), "41");
    assert!(neo.fails(&["aNZ2-aYIeAtCOgIbPdN0JETlxbQ0uuFCgMNNMm2YyPA"], "").contains("no process"));
}

/// How the runtime shows a person's address.
fn short(person: &Person<'_>, node: &TestNode) -> String {
    let output = Command::new(program())
        .args(["wallet", "show"])
        .env_clear()
        .env("HOME", person.home.path())
        .env("AO_NODE", &node.url)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let address = text.split_whitespace().find(|word| word.len() == 43).unwrap();
    format!("{}...{}:", &address[..3], &address[40..])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_come_from_arguments_files_and_standard_input() {
    let node = TestNode::start("mu,su,cu", None);
    let neo = Person::new(&node);
    let input = "function twice(n)\n  return n * 2\nend\ntwice(21)\n.editor\ny = 1\nz = 2\n.done\ny + z\n";
    assert_eq!(neo.says(&["neo"], input), "42\n3");
    assert_eq!(neo.says(&["neo"], ".editor\ny = 100\n.cancel\n.dryrun y = 50\ny"), "1", "forgotten, and not done");
    assert_eq!(neo.says(&["neo"], ".dryrun\ny = 7 return y\n.dryrun\ny").lines().nth(1), Some("7"));
    // An error, and the lines behind it; what was not whole at the end says what is missing.
    let output = neo.console(&["neo"], "error('no')\ny\n");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).trim()), (Some(1), "1"));
    let error = neo.fails(&["neo"], "error('no')");
    assert!(error.contains("[string \"aos\"]:1: no") && !error.contains('\u{1b}'), "{error}");
    assert!(
        neo.fails(&["neo"], "function f(").contains("'<eof>'") || neo.fails(&["neo"], "function f(").contains("<eof>")
    );
    assert!(neo.fails(&["neo"], ".nonsense").contains(".help"));

    neo.write("main.lua", "local lib = require('lib.words')\nGreeting = lib.hello .. require('json').encode({ 1 })");
    neo.write("lib/words.lua", "return { hello = require('lib.more') .. ', ' }");
    neo.write("lib/more.lua", "return 'hello'");
    assert_eq!(neo.says(&["neo", "--load", "main.lua", "--run", "Greeting"], ""), "hello, [1]");
    neo.write("lib/more.lua", "\nerror('broken')");
    assert!(neo.fails(&["neo", "--load", "main.lua"], "").contains("more.lua:2: broken"));
    assert!(neo.fails(&["neo"], ".load none.lua").contains("can't be read"));

    neo.write("boot.lua", "Booted = ao.env.Process.Tags.Color");
    let made = ["fresh", "--tag", "Color=red", "--tag", "On-Boot=Data", "--data", "boot.lua", "--run", "Booted"];
    assert_eq!(neo.says(&made, ""), "red");
    neo.write("bad.lua", "this is no Lua");
    let made = ["bad", "--tag", "On-Boot=Data", "--data", "bad.lua", "--run", "1 + 1"];
    assert!(neo.fails(&made, "").contains("did not boot"));
    assert!(neo.says(&["neo"], ".dryrun Send({ Target = 'x' })").contains("1 message would be sent"));
    let json = neo.says(&["neo", "--json", "--run", "y"], "");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json.pointer("/result/Output/data"), Some(&"1".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blueprints_are_loaded_and_messages_traced() {
    let node = TestNode::start("mu,su,cu", None);
    let neo = Person::new(&node);
    for name in ["chatroom", "token", "voting", "staking"] {
        assert_eq!(neo.says(&[name], &format!(".load-blueprint {name}")), format!("{name} is loaded."));
        // A second time it changes nothing.
        let count = neo.says(&[name], "#Handlers.list");
        neo.says(&[name], &format!(".load-blueprint {name}"));
        assert_eq!(neo.says(&[name], "#Handlers.list"), count);
    }
    assert!(neo.fails(&["neo"], ".load-blueprint tokn").contains("chatroom, staking, token, voting"));
    assert!(neo.fails(&["neo"], ".trace").contains("nothing was sent"));

    neo.says(&["token"], "Send({ Target = ao.id, Action = 'Transfer', Recipient = 'somebody', Quantity = '5' })");
    let notice = "Inbox[#Inbox].Action == 'Debit-Notice' and Inbox[#Inbox].Quantity";
    wait_for_async("the notice", async || (neo.says(&["token", "--run", notice], "") == "5").then_some(())).await;
    assert_eq!(neo.says(&["token"], "Balances.somebody"), "5");
    assert!(neo.says(&["token"], ".inbox 1").contains("Debit-Notice  You transferred 5 to somebody"));
    let log = neo.says(&["token"], "Inbox[#Inbox].Id");
    let trace = neo.says(&["token"], &format!(".trace {log}"));
    assert!(trace.contains("Debit-Notice: slot") && trace.contains("output: New Message From"), "{trace}");
}
