//! What the documentation names is there.

use std::fs;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The tests that a page names in its tables below a heading: one bare name, or `module::test`.
fn named(page: &str, heading: &str) -> Vec<String> {
    let page = fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
    let (_, tables) = page.split_once(heading).unwrap();
    let rows = tables.lines().filter(|line| line.starts_with("| "));
    // In the last column.
    let columns = rows.filter_map(|row| Some(row.trim_end_matches(" |").rsplit_once(" | ")?.1));
    let names = columns.flat_map(|column| column.split('`').skip(1).step_by(2));
    names.filter(|name| name.contains('_') && !name.contains(' ')).map(str::to_owned).collect()
}

/// Each module in a folder and below, `a::b::` for `a/b.rs`, with its text.
fn modules(folder: &Path, above: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: std::path::PathBuf| {
        let name = format!("{above}{}::", path.file_stem().unwrap().to_str().unwrap());
        match path.extension() {
            Some(end) if end == "rs" => vec![(name, fs::read_to_string(path).unwrap())],
            _ if path.is_dir() => modules(&path, &name),
            _ => Vec::new(),
        }
    };
    entries.flat_map(of).collect()
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let modules: Vec<_> =
        ["src", "tests"].iter().flat_map(|folder| modules(&Path::new(ROOT).join(folder), "")).collect();
    for (page, heading, least) in
        [("docs/security.md", "# Security", 100), ("docs/caching.md", "## Clause by clause", 40)]
    {
        let named = named(page, heading);
        assert!(named.len() >= least, "{page}: {}", named.len());
        let is_there = |name: &String| {
            let (module, test) = name.split_at(name.rfind("::").map_or(0, |at| at + 2));
            let is_of = |path: &str| {
                let path = path.strip_prefix("integration::").unwrap_or(path);
                module.is_empty() || path == module || module.strip_suffix("tests::") == Some(path)
            };
            // The fuzz targets are listed, not written out.
            let forms = [format!("fn {test}("), format!("    {test}: \"")];
            modules.iter().any(|(path, text)| is_of(path) && forms.iter().any(|form| text.contains(form)))
        };
        let missing: Vec<_> = named.iter().filter(|name| !is_there(name)).collect();
        assert!(missing.is_empty(), "{page} names what is not there: {missing:#?}");
    }
}
