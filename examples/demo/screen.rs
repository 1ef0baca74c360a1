//! What the demo shows: on a terminal a few lines that are drawn anew every second, else a line every second.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use forebay::app::App;

use crate::backend::{self, Backend};
use crate::tabs::{self, Tally};

/// The longest bar, in characters.
const BAR: u64 = 44;

/// Who listens where.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) proxy: SocketAddr,
    admin: SocketAddr,
    backend: SocketAddr,
    /// Ports that were wanted and taken.
    taken: Vec<u16>,
}

impl Places {
    pub(crate) fn of(app: &App, backend: SocketAddr, wanted: (u16, u16)) -> anyhow::Result<Self> {
        let addresses = app.addresses();
        let proxy = addresses.first().and_then(|url| url.strip_prefix("http://")?.parse().ok());
        let proxy: SocketAddr = proxy.context("forebay listens nowhere")?;
        let admin = app.admin_address();
        let pairs = [(wanted.0, proxy), (wanted.1, admin)];
        let taken = pairs.iter().filter(|(port, got)| *port != got.port()).map(|(port, _)| *port).collect();
        Ok(Self { proxy, admin, backend, taken })
    }
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Screen {
    is_terminal: bool,
    has_colours: bool,
    /// Lines that the next picture replaces.
    drawn: usize,
}

/// The figures of one moment.
struct Figures {
    asked: u64,
    seen: u64,
    saved: f64,
    p50: String,
}

impl Figures {
    fn of(tally: &Tally, backend: &Backend) -> Self {
        let (asked, seen) = (tally.polls.value(), backend.polls.value());
        let saved = if asked == 0 { 0.0 } else { 100.0 - 100.0 * share(seen, asked) };
        let p50 = tally.p50().map_or_else(|| "-".to_owned(), in_millis);
        Self { asked, seen, saved: saved.max(0.0), p50 }
    }
}

impl Screen {
    /// Says what begins, and what to try.
    pub(crate) fn begin(places: &Places, limit: Option<Duration>, without: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let has_colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let screen = Self { is_terminal, has_colours, drawn: 0 };
        let _ = screen.write(&screen.introduction(places, limit, without));
        screen
    }

    fn introduction(&self, places: &Places, limit: Option<Duration>, without: bool) -> String {
        let Places { proxy, admin, backend, taken } = places;
        let (scans, tabs) = (tabs::SCANS, u32::from(tabs::SCANS) * u32::from(tabs::TABS_EACH));
        let mut out = String::new();
        let way = if without { "past forebay, straight at" } else { "through forebay at" };
        let title = format!("{tabs} browser tabs poll {scans} scans once a second, {way} a slow backend.");
        let _ = writeln!(out, "{}\n", self.paint("1", &title));
        let row = |label: &str, text: &str, note: &str| {
            let (label, text) = (self.paint("32", &format!("{label:<8}")), self.paint("36", text));
            let line = format!("  {label}  {text}  {note}");
            format!("{}\n", line.trim_end())
        };
        let work = format!(
            "{} workers, {} s a scan; each status costs it {} ms",
            backend::WORKERS,
            backend::SCAN.as_secs(),
            backend::STATUS.as_millis()
        );
        out += &row("backend", &format!("http://{backend}"), &work);
        out +=
            &row("forebay", &format!("http://{proxy}"), "configured by config/minimal.toml (--preset scan)");
        out += &row("metrics", &format!("http://{admin}/metrics"), "");
        for port in taken {
            let _ = writeln!(out, "            port {port} is taken: another one is used");
        }
        out += "\n  Ask as the tabs do, and look at Cache-Status:\n";
        let _ =
            writeln!(out, "      {}", self.paint("1", &format!("curl -i http://{proxy}/api/scan/status/1")));
        out += "  Start a scan: two at a time are let through, everybody else is told when to come back:\n";
        let start = format!("curl -i -X POST http://{proxy}/api/scan/execute");
        let _ = writeln!(out, "      {}", self.paint("1", &start));
        let _ = match limit {
            Some(limit) => writeln!(out, "\n  Ends after {} s, or at Ctrl-C.\n", limit.as_secs()),
            None => writeln!(out, "\n  Ctrl-C ends it.\n"),
        };
        out
    }

    /// The figures as they are.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) fn show(&mut self, passed: Duration, tally: &Tally, backend: &Backend) -> io::Result<()> {
        let figures = Figures::of(tally, backend);
        let seconds = passed.as_secs_f64().round();
        if !self.is_terminal {
            let Figures { asked, seen, saved, p50 } = figures;
            return self.write(&format!(
                "{seconds:>4} s  tabs asked {asked}, backend saw {seen}; hits {}, collapsed {}, limited {}; \
                 saved {saved:.1}%, p50 {p50}\n",
                tally.hits.value(),
                tally.joined.value(),
                tally.limited.value(),
            ));
        }
        let picture = self.picture(seconds, &figures, tally);
        let up = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        self.drawn = picture.lines().count();
        // Lines that are too long for the terminal are cut, not wrapped: the next picture must find its place.
        self.write(&format!("{up}\x1b[?7l{}\x1b[?7h", picture.replace('\n', "\x1b[K\n")))
    }

    fn picture(&self, seconds: f64, figures: &Figures, tally: &Tally) -> String {
        let Figures { asked, seen, saved, p50 } = figures;
        let bar = |count: u64, colour: &str| {
            let length = (count * BAR).div_ceil((*asked).max(1)).min(BAR);
            self.paint(colour, &"█".repeat(usize::try_from(length).unwrap_or(0)))
        };
        let saved = self.paint("1;32", &format!("saved {saved:.1}%"));
        format!(
            "{:>5} s  tabs asked  {asked:>7}  {}\n         backend saw {seen:>7}  {}\n         \
             hits {}   collapsed {}   limited {}   {saved}   p50 {p50}\n",
            seconds,
            bar(*asked, "36"),
            bar(*seen, "33"),
            tally.hits.value(),
            tally.joined.value(),
            tally.limited.value(),
        )
    }

    /// The last word.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) fn sum_up(&self, took: Duration, tally: &Tally, backend: &Backend) -> io::Result<()> {
        let Figures { asked, seen, saved, p50 } = Figures::of(tally, backend);
        let mut out = String::from("\n");
        let seconds = took.as_secs_f64();
        let _ = writeln!(out, "In {seconds:.0} s the tabs asked {asked} times for a status.");
        let saved = self.paint("1;32", &format!("{saved:.1}% saved"));
        let _ = writeln!(out, "The backend saw {seen} of that: {saved}. p50 of the answers: {p50}.");
        let (pressed, started) = (tally.starts.value(), tally.started.value());
        let _ = writeln!(
            out,
            "Somebody asked {pressed} times to start a scan; {started} were started, {} were too many (429).",
            tally.limited.value(),
        );
        if let failed @ 1.. = tally.failed.value() {
            let _ = writeln!(out, "{failed} requests failed.");
        }
        self.write(&out)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn in_millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}
