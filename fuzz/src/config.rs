//! A configuration has problems that can be told, or it reads back from what `check --print` shows as itself.

use forebay::config::{effective, parse};
use forebay::policy::compile::plan;

/// `data`: a configuration file.
pub fn run(data: &[u8]) {
    // A file that is named is looked at: only the text is to be read here.
    let Ok(text) = std::str::from_utf8(data) else { return };
    let loaded = match parse("forebay.toml", text, &|_| None) {
        Ok(loaded) => loaded,
        Err(problems) => return assert!(!problems.to_string().is_empty()),
    };
    if let Err(problems) = plan(&loaded) {
        return assert!(!problems.to_string().is_empty());
    }
    let shown = effective(&loaded.config);
    let again = match parse("shown.toml", &shown, &|_| None) {
        Ok(again) => again,
        Err(problems) => panic!("{problems}\n{shown}"),
    };
    if let Err(problems) = plan(&again) {
        panic!("{problems}\n{shown}");
    }
    assert_eq!(effective(&again.config), shown);
}
