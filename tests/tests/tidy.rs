//! The repository keeps its own rules of style.

use ao_tests::tidy::{complaints, files, limits, tests_not_run};

#[test]
fn every_file_is_tidy() {
    let found: Vec<String> = files().iter().flat_map(|(name, text)| complaints(name, text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_readme_lists_every_limit() {
    let files = files();
    let readme = files.iter().find(|(name, _)| name == "README.md").map(|(_, text)| text.clone()).unwrap_or_default();
    let missing: Vec<String> =
        limits(&files).into_iter().filter(|limit| !readme.contains(&format!("`{limit}`"))).collect();
    assert!(missing.is_empty(), "limits that the README does not list: {missing:?}");
}

#[test]
fn every_test_is_run() {
    assert_eq!(tests_not_run(&files()), Vec::<String>::new());
}
