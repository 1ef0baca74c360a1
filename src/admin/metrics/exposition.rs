//! The two text forms of figures.
//!
//! prometheus-client writes OpenMetrics, where a counter `requests` has the sample `requests_total`. The older form
//! knows the sample's name only, so its HELP and TYPE lines are renamed; everything else is the same.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// Which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exposition {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Exposition {
    /// OpenMetrics when it is asked for and nothing says that the older form is liked better (RFC 9110, 12.5.1).
    pub(super) fn preferred<'a>(accepts: impl Iterator<Item = &'a str>) -> Self {
        let (mut open_metrics, mut plain) = (0.0_f32, 0.0_f32);
        for range in accepts.flat_map(|field| field.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let weighed = match parts.next().map(str::to_ascii_lowercase).as_deref() {
                Some("application/openmetrics-text") => &mut open_metrics,
                Some("text/plain") => &mut plain,
                _ => continue,
            };
            let weight =
                parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
            *weighed = weighed.max(weight);
        }
        if open_metrics > 0.0 && open_metrics >= plain { Self::OpenMetrics } else { Self::Text }
    }

    /// Prometheus 3 refuses a scrape without one.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Writes down what the collector says.
    pub(super) fn write(self, collector: impl Collector) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(collector));
        let mut open_metrics = String::with_capacity(16 * 1024);
        text::encode(&mut open_metrics, &registry)?;
        Ok(match self {
            Self::Text => as_text(&open_metrics),
            Self::OpenMetrics => open_metrics,
        })
    }
}

/// HELP comes before the TYPE that says whether the name is to change, so it waits for it.
fn as_text(open_metrics: &str) -> String {
    let mut written = String::with_capacity(open_metrics.len() + 1024);
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            written.push_str(&format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
        } else if line != "# EOF" {
            written.push_str(line);
            written.push('\n');
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, expected) in [
            (prometheus, Exposition::OpenMetrics),
            ("application/openmetrics-text", Exposition::OpenMetrics),
            ("Application/OpenMetrics-Text; version=1.0.0", Exposition::OpenMetrics),
            ("application/openmetrics-text;q=0.2,text/plain;q=0.9", Exposition::Text),
            ("application/openmetrics-text;q=0", Exposition::Text),
            ("text/plain;version=0.0.4", Exposition::Text),
            ("*/*", Exposition::Text),
            ("text/html", Exposition::Text),
            ("", Exposition::Text),
        ] {
            assert_eq!(Exposition::preferred([accept].into_iter()), expected, "{accept}");
        }
        assert_eq!(Exposition::preferred([].into_iter()), Exposition::Text);
    }
}
