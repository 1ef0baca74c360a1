//! What makes two starts of a route the same.

use toml::Spanned;

use super::Findings;
use crate::client::KeySource;
use crate::config::Problem;
use crate::config::route::dedupe::Dedupe;
use crate::dedupe::By;
use crate::router::Pattern;

/// What a route's `dedupe` goes by.
pub(super) fn check(
    dedupe: &Spanned<Dedupe>,
    patterns: &[Pattern],
    findings: &mut Findings<'_>,
) -> Option<By> {
    if !patterns.is_empty() && !patterns.iter().any(Pattern::takes_unsafe) {
        let message = "the route takes only methods that change nothing: there is no start to make once";
        let help = "leave `dedupe` out: equal GETs share one request by `collapse`";
        findings.add(Problem::at(dedupe.span(), message).help(help));
    }
    let Some(by) = &dedupe.get_ref().by else {
        let problem = Problem::at(dedupe.span(), "`dedupe` does not say by what");
        findings.missing(
            &dedupe.span(),
            "by",
            problem.help("add: by = \"body\", or by = \"header:Idempotency-Key\""),
        );
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
