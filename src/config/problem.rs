//! What is wrong with a configuration: every problem at once, each with its place.

use std::fmt;
use std::ops::Range;

use super::source::Source;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is, on one line.
    pub message: String,
    /// Where, in bytes of the file; `None` when it is about the file as a whole.
    pub span: Option<Range<usize>>,
    /// Other places that belong to it, each with a few words.
    pub also: Vec<(Range<usize>, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at a place; `0..0` is that of a value which stands in no file (a default, a flag).
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span: Some(span).filter(|span| span.end > 0),
            also: Vec::new(),
            help: None,
        }
    }

    /// A problem of the file as a whole.
    pub fn of_file(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, also: Vec::new(), help: None }
    }

    /// Adds what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place that belongs to it.
    pub fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.also.push((span, label.into()));
        self
    }

    /// Adds the name that was probably meant, else all that there are.
    pub fn suggest<'a>(self, word: &str, among: impl IntoIterator<Item = &'a str>) -> Self {
        let among: Vec<_> = among.into_iter().collect();
        match closest(word, among.iter().copied()) {
            Some(meant) => self.help(format!("did you mean `{meant}`?")),
            None if among.is_empty() => self,
            None => self.help(format!("there is: {}", among.join(", "))),
        }
    }
}

/// Everything that is wrong with one file, in the order of the file. Never empty.
#[derive(Debug, Clone)]
pub struct Problems {
    source: Source,
    list: Vec<Problem>,
}

impl Problems {
    /// Collects the problems of a source.
    pub fn new(source: Source, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
        list.dedup();
        Self { source, list }
    }

    /// The problems.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// What they were found in.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// One line a problem, `file:line:column: message (help)`: for the log and for JSON.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|problem| self.source.line(problem))
    }

    /// For people: each problem with its line of the file and a caret under it, in colour when asked.
    pub fn render(&self, colour: bool) -> String {
        let rendered = self.list.iter().map(|problem| self.source.render(problem, colour) + "\n");
        rendered.collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for Problems {}

/// The word of a list that somebody probably meant.
pub fn closest<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |meant: &str| strsim::damerau_levenshtein(word, meant);
    let near = |meant: &&str| distance(meant) <= (word.len().max(meant.len()) / 3).max(1);
    among.into_iter().filter(near).min_by_key(|meant| distance(meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_word_is_one_that_could_be_a_slip_of_the_finger() {
        let keys = ["timeout", "target", "rate_limits", "name"];
        for (word, meant) in [
            ("timout", Some("timeout")),
            ("ratelimits", Some("rate_limits")),
            ("rate-limits", Some("rate_limits")),
            ("nmae", Some("name")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest(word, keys), meant, "{word}");
        }
    }
}
