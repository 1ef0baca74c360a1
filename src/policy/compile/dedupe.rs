//! What makes two starts of a route the same.

use toml::Spanned;

use super::Findings;
use crate::client::KeySource;
use crate::config::Problem;
use crate::config::route::dedupe::Dedupe;
use crate::dedupe::By;

/// What a route's `dedupe` goes by.
pub(super) fn check(dedupe: &Spanned<Dedupe>, findings: &mut Findings<'_>) -> Option<By> {
    let Some(by) = &dedupe.get_ref().by else {
        let problem = Problem::at(dedupe.span(), "`dedupe` does not say by what");
        findings
            .missing(&dedupe.span(), problem.help("add: by = \"body\", or by = \"header:Idempotency-Key\""));
        return None;
    };
    match (by.get_ref().as_str(), by.get_ref().parse()) {
        ("body", _) => Some(By::Body),
        (_, Ok(KeySource::Header(name))) => Some(By::Header(name)),
        (text, _) => {
            let message = format!("`{text}` is nothing that starts can be told apart by");
            let help = "it is \"body\", or a field such as \"header:Idempotency-Key\"";
            findings.add(Problem::at(by.span(), message).help(help));
            None
        }
    }
}
