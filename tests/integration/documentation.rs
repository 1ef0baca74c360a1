//! What the documentation names is there.

use std::fs;
use std::path::{Path, PathBuf};

/// The tests that a page names in its tables below a heading: one bare name, or `module::test`.
fn named(page: &str, heading: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join(page)).unwrap();
    let (_, tables) = page.split_once(heading).unwrap();
    let rows = tables.lines().filter(|line| line.starts_with("| "));
    // In the last column.
    let columns = rows.filter_map(|row| Some(row.trim_end_matches(" |").rsplit_once(" | ")?.1));
    let names = columns.flat_map(|column| column.split('`').skip(1).step_by(2));
    names.filter(|name| name.contains('_') && !name.contains(' ')).map(str::to_owned).collect()
}

/// Each module of the product and of its tests by its path, `a::b` for `a/b.rs`, with its text.
fn modules() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let below = |folder| modules_below(&root.join(folder));
    let fuzz = ("fuzz".to_owned(), fs::read_to_string(root.join("tests/fuzz.rs")).unwrap());
    [below("src"), below("tests/integration"), vec![fuzz]].concat()
}

fn modules_below(root: &Path) -> Vec<(String, String)> {
    let (mut folders, mut modules) = (vec![root.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (below, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
        folders.extend(below);
        modules.extend(files.iter().filter(|path| path.extension().is_some_and(|end| end == "rs")).map(
            |path| {
                let name = path.strip_prefix(root).unwrap().with_extension("");
                (name.to_str().unwrap().replace('/', "::"), fs::read_to_string(path).unwrap())
            },
        ));
    }
    modules
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let modules = modules();
    for (page, heading, least) in
        [("docs/security.md", "# Security", 100), ("docs/caching.md", "## Clause by clause", 40)]
    {
        let named = named(page, heading);
        assert!(named.len() >= least, "{page}: {}", named.len());
        let is_there = |name: &String| {
            let (module, test) = name.rsplit_once("::").unwrap_or(("", name));
            let is_of = |path: &str| {
                module.is_empty() || path == module || module.strip_suffix("::tests") == Some(path)
            };
            // The fuzz targets are listed, not written out.
            let forms = [format!("fn {test}("), format!("    {test}: \"")];
            modules.iter().any(|(path, text)| is_of(path) && forms.iter().any(|form| text.contains(form)))
        };
        let missing: Vec<_> = named.iter().filter(|name| !is_there(name)).collect();
        assert!(missing.is_empty(), "{page} names what is not there: {missing:#?}");
    }
}
