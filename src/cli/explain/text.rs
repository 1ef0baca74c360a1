//! The report for people: a label, what it is about, and why, in three columns.

use std::fmt::Write as _;

use super::report::{Client, IdentityReport, Report, Upstream};
use super::sharing::CacheReport;

/// Patterns that do not match are told up to this number.
const NEAREST: usize = 5;
/// A name in the second column that is longer than this pushes the third one out.
const WIDEST: usize = 20;

/// The report as text.
pub(super) fn render(report: &Report, colour: bool) -> String {
    let mut page = Page::default();
    page.route(report);
    page.client(&report.client);
    if let Some(identity) = &report.identity {
        page.identity(identity);
    }
    page.limits(report);
    if let Some(job) = &report.job {
        page.row("job", &job.job, &job.meaning());
    }
    if let Some(cache) = &report.cache {
        page.cache(cache);
    }
    if let Some(collapse) = &report.collapse {
        page.row("collapse", collapse.scope, &collapse.with);
        if let Some(digest) = &collapse.digest {
            page.more("flight", digest);
        }
    }
    if let Some(coding) = report.compress {
        let why = if coding == "none" {
            "the request takes none of zstd, br, gzip"
        } else {
            "text, after the cache"
        };
        page.row("compress", coding, why);
    }
    if let Some(upstream) = &report.upstream {
        page.upstream(upstream, report.timeout.as_deref());
    }
    for tag in &report.invalidates {
        page.row("drops", tag, "stored responses with this tag, after a 2xx or 3xx");
    }
    page.others(report);
    page.write(report, colour)
}

#[derive(Default)]
struct Page {
    rows: Vec<[String; 3]>,
}

impl Page {
    fn row(&mut self, label: &str, what: &str, why: &str) {
        self.rows.push([label.to_owned(), what.to_owned(), why.to_owned()]);
    }

    /// Another line of the section before.
    fn more(&mut self, what: &str, why: &str) {
        self.row("", what, why);
    }

    fn route(&mut self, report: &Report) {
        if let Some(answer) = &report.answer {
            self.row("answer", &answer.status.to_string(), &format!("forebay's own: {}", answer.detail));
        }
        if let Some(route) = &report.route {
            self.row("route", &route.name, &route.pattern);
            for (name, value) in &route.captures {
                self.more("", &format!("{{{name}}} is {value:?}"));
            }
            if let Some(over) = &route.over {
                self.more("", &format!("because {over}"));
            }
        }
    }

    /// Why the others do not take it.
    fn others(&mut self, report: &Report) {
        let first = self.rows.len();
        let (outranked, missed): (Vec<_>, Vec<_>) = report.others.iter().partition(|rival| rival.matches);
        for rival in outranked.into_iter().chain(missed.iter().take(NEAREST).copied()) {
            self.more(&rival.route, &format!("{}: {}", rival.pattern, rival.why));
        }
        if let Some(count @ 1..) = missed.len().checked_sub(NEAREST) {
            self.more("", &format!("and {count} more that do not match"));
        }
        if let Some([label, ..]) = self.rows.get_mut(first) {
            *label = if report.route.is_some() { "not" } else { "nearest" }.to_owned();
        }
    }

    fn client(&mut self, client: &Client) {
        self.row("client", &client.address.to_string(), client.because);
    }

    fn identity(&mut self, identity: &IdentityReport) {
        let by = identity.by.join(", ");
        match &identity.digest {
            Some(digest) => self.row("identity", digest, &format!("by {by}")),
            None if by.is_empty() => self.row("identity", "anonymous", "the route tells nobody apart"),
            None => self.row("identity", "anonymous", &format!("it has none of {by}")),
        }
    }

    fn limits(&mut self, report: &Report) {
        for limit in &report.rate_limits {
            self.row("rate limit", &limit.name, &limit.rule());
            self.more("", &format!("for {} ({})", limit.key.in_words(), limit.key.digest));
        }
        if let Some(dedupe) = &report.dedupe {
            self.row("dedupe", "", dedupe);
        }
        if let Some(pool) = &report.in_flight {
            self.row("in flight", &pool.pool, &pool.rule());
            if let Some(per) = &pool.per {
                let key = &per.key;
                self.more("", &format!("at most {} for {} ({})", per.max, key.in_words(), key.digest));
            }
        }
    }

    fn cache(&mut self, cache: &CacheReport) {
        let uses = match (cache.lookup, cache.store) {
            (true, true) => "looked up, stored",
            (true, false) => "looked up, not stored",
            (false, _) => "neither looked up nor stored",
        };
        let because = match &cache.because {
            Some(because) if cache.lookup && cache.store => format!("{uses} {because}"),
            Some(because) => format!("{uses}: {because}"),
            None => uses.to_owned(),
        };
        self.row("cache", cache.mode, &because);
        if cache.store {
            self.more("", &cache.lifetime());
        }
        if let Some(key) = &cache.key {
            self.more("key", &format!("{} ({})", key.in_words(), key.digest));
            if !cache.tags.is_empty() {
                self.more("tags", &cache.tags.join(", "));
            }
        }
    }

    fn upstream(&mut self, upstream: &Upstream, timeout: Option<&str>) {
        let mut words = upstream.servers.join(", ");
        if upstream.max_connections > 0 {
            let _ = write!(words, ", up to {} connections", upstream.max_connections);
            words.push_str(if upstream.servers.len() > 1 { " each" } else { "" });
        }
        let _ = write!(words, ", {} for its answer to begin", upstream.first_byte_timeout);
        if let Some(timeout) = timeout {
            let _ = write!(words, ", {timeout} for all of it");
        }
        self.row("upstream", &upstream.name, &words);
    }

    fn write(&self, report: &Report, colour: bool) -> String {
        let paint = |code: &str, text: &str, pad: usize| {
            let pad = pad.saturating_sub(text.chars().count());
            match colour && !text.is_empty() {
                true => format!("\x1b[{code}m{text}\x1b[0m{:pad$}", ""),
                false => format!("{text}{:pad$}", ""),
            }
        };
        let width = |column: usize| {
            let widths = self.rows.iter().filter_map(|row| Some(row.get(column)?.chars().count()));
            widths.filter(|width| *width <= WIDEST).max().unwrap_or(0)
        };
        let (labels, names) = (width(0), width(1));
        let request = &report.request;
        let query = request.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let url = format!("{}://{}{}{query}", request.scheme, request.host, request.path);
        let mut out = format!("{} {url}\n\n", paint("1", &request.method, 0));
        for [label, what, why] in &self.rows {
            let line = format!("{}  {}  {why}", paint("1;32", label, labels), paint("36", what, names));
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}
