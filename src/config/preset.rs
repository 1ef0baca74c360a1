//! Configurations that need no file.

use clap::ValueEnum;

/// A ready configuration for a kind of backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// A scan API: starts are limited to 2 a minute and 10 an hour per client and two at a time, status polls share.
    Scan,
}

/// `config/minimal.toml` is the scan preset: one text to keep true.
const SCAN: &str = include_str!("../../config/minimal.toml");
const SCAN_SERVER: &str = "\"http://127.0.0.1:8000\"";

/// The text of a configuration for one backend: safe defaults, or those of a preset.
pub fn for_upstream(url: &str, preset: Option<Preset>) -> String {
    let server = toml::Value::String(url.replace('$', "$$")).to_string();
    match preset {
        Some(Preset::Scan) => SCAN.replacen(SCAN_SERVER, &server, 1),
        None => format!(
            "[upstreams.backend]\nservers = [{server}]\n\n[[routes]]\nname = \"all\"\nmatch = \"/{{*rest}}\"\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_backend_needs_no_file() {
        for preset in [None, Some(Preset::Scan)] {
            for url in ["http://10.0.0.7:8000", "http://a$b\"c\\:1"] {
                let loaded = parse("built-in", &for_upstream(url, preset), &|_| None).unwrap();
                assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
                let upstream = loaded.config.upstreams.values().next().unwrap().get_ref();
                assert_eq!(upstream.servers[0].get_ref(), url);
            }
        }
    }
}
