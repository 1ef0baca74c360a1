//! The text a configuration was read from, and places in it.

use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::problem::Problem;

/// The text of a configuration and the name that its problems are reported under.
#[derive(Debug, Clone)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
}

impl Source {
    /// A text under a name, usually the path of its file.
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// The path of the file, or what stands for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset, both from 1, the column in characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..self.clamp(offset)).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
    }

    /// `file:line:column: message (help)`, on one line.
    pub fn line(&self, problem: &Problem) -> String {
        let mut line = match &problem.span {
            Some(span) => {
                let (row, column) = self.position(span.start);
                format!("{}:{row}:{column}: {}", self.name, problem.message)
            }
            None => format!("{}: {}", self.name, problem.message),
        };
        for (span, label) in &problem.also {
            let (row, column) = self.position(span.start);
            line.push_str(&format!("; {label}: {}:{row}:{column}", self.name));
        }
        if let Some(help) = &problem.help {
            line.push_str(&format!(" ({help})"));
        }
        line.replace(['\n', '\r'], " ")
    }

    /// The problem with its line of the file, a caret and help, as a terminal shows it.
    pub(super) fn render(&self, problem: &Problem, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let Some(span) = &problem.span else {
            return renderer.render(&[Group::with_title(Level::ERROR.primary_title(self.line(problem)))]);
        };
        let mut snippet = Snippet::source(&*self.text)
            .path(&*self.name)
            .annotation(AnnotationKind::Primary.span(self.within(span)));
        for (other, label) in &problem.also {
            let note = AnnotationKind::Context.span(self.within(other)).label(label);
            snippet = snippet.annotation(note);
        }
        let mut group = Level::ERROR.primary_title(&problem.message).element(snippet);
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }

    /// The first line of a span: a caret under twenty lines shows nothing.
    fn within(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.clamp(span.start);
        let end = self.clamp(span.end).max(start);
        let first_line = self.text.get(start..end).and_then(|text| text.find(['\n', '\r']));
        start..first_line.map_or(end, |length| start + length)
    }

    /// The nearest border of characters at or before an offset.
    fn clamp(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset.min(self.text.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters_from_one() {
        let source = Source::new("f", "a\nbü = 1\n");
        for (offset, position) in [(0, (1, 1)), (2, (2, 1)), (6, (2, 4)), (5, (2, 3)), (99, (3, 1))] {
            assert_eq!(source.position(offset), position, "{offset}");
        }
    }

    #[test]
    fn a_span_that_fits_nowhere_is_rendered_without_panic() {
        let source = Source::new("f", "ü");
        for span in [0..9, 1..1, 1..2, 7..7, 9..9] {
            source.render(&Problem::at(span, "m"), false);
        }
    }
}
