//! From a text to a [`Config`], past every problem in it.
//!
//! The deserializer stops at the first error. So what it stumbles over is noted, taken out of the parsed table, and the
//! rest read again, until nothing is left to stumble over.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::env::{Lookup, expand_table};
use super::problem::{Problem, Problems};
use super::source::Source;
use super::{Config, wording};

/// A larger file is no configuration.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Nobody reads on after so many.
const MAX_PROBLEMS: usize = 100;

/// The best reading of a file.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration; what could not be read has its default.
    pub config: Config,
    /// The text it was read from.
    pub source: Source,
    /// What is wrong with it so far.
    pub problems: Vec<Problem>,
    /// The tables that something was left out of.
    incomplete: Vec<Range<usize>>,
}

impl Loaded {
    /// Whether something in the table at this place could not be read; that a key is missing there means nothing.
    pub fn is_incomplete(&self, table: &Range<usize>) -> bool {
        self.incomplete.contains(table)
    }
}

/// Reads a file. An error is one that leaves nothing to look at: no such file, not UTF-8, or not TOML.
pub fn load(path: &Path, env: Lookup<'_>) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    match read(path) {
        Ok(text) => parse(&name, &text, env),
        Err(problem) => Err(Problems::new(Source::new(&name, ""), vec![problem])),
    }
}

fn read(path: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err(Problem::of_file(format!("cannot read the configuration: {error}")));
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Problem::of_file("larger than 4 MiB: this is no configuration"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Problem::of_file(format!("not UTF-8: the byte at offset {offset} belongs to no character"))
    })
}

/// Reads a text that goes by a name. An error is one of syntax; all of them are told.
pub fn parse(name: &str, text: &str, env: Lookup<'_>) -> Result<Loaded, Problems> {
    let source = Source::new(name, text);
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problems = errors.iter().take(MAX_PROBLEMS).map(syntax_problem).collect();
        return Err(Problems::new(source, problems));
    }
    let mut problems = Vec::new();
    let mut incomplete = Vec::new();
    for failure in expand_table(table.get_mut(), text, env) {
        take_out(&mut table, &failure.value, &mut incomplete);
        problems.push(failure.problem);
    }
    let config = read_past_problems(table, &mut problems, &mut incomplete);
    Ok(Loaded { config, source, problems, incomplete })
}

fn syntax_problem(error: &toml::de::Error) -> Problem {
    match error.span() {
        Some(span) => Problem::at(span, error.message()),
        None => Problem::of_file(error.message()),
    }
}

fn read_past_problems(
    mut table: Spanned<DeTable<'_>>,
    problems: &mut Vec<Problem>,
    incomplete: &mut Vec<Range<usize>>,
) -> Config {
    while problems.len() < MAX_PROBLEMS {
        let error = match Config::deserialize(Deserializer::from(table.clone())) {
            Ok(config) => return config,
            Err(error) => error,
        };
        let span = error.span().unwrap_or_else(|| table.span());
        problems.push(wording::problem(error.message(), span.clone()));
        if !take_out(&mut table, &span, incomplete) {
            break;
        }
    }
    Config::default()
}

/// Takes out what stands exactly at `span`: the innermost entry of a table or element of a list with that key or value.
fn take_out(
    table: &mut Spanned<DeTable<'_>>,
    span: &Range<usize>,
    incomplete: &mut Vec<Range<usize>>,
) -> bool {
    let own_span = table.span();
    out_of_table(table.get_mut(), own_span, span, incomplete).is_some()
}

/// What the taken out was part of.
enum Whole {
    Table,
    List,
}

fn out_of_table(
    table: &mut DeTable<'_>,
    own_span: Range<usize>,
    span: &Range<usize>,
    incomplete: &mut Vec<Range<usize>>,
) -> Option<Whole> {
    match table.iter_mut().find_map(|(_, value)| out_of_value(value, span, incomplete)) {
        Some(Whole::Table) => return Some(Whole::Table),
        // A list that lost an element is a key of this table that says less than was written.
        Some(Whole::List) => {}
        None => {
            let stands_there =
                |(key, value): &(&Spanned<_>, &Spanned<_>)| key.span() == *span || value.span() == *span;
            let key = table.iter().find(stands_there).map(|(key, _)| key.get_ref().to_string())?;
            table.remove(key.as_str())?;
        }
    }
    incomplete.push(own_span);
    Some(Whole::Table)
}

fn out_of_value(
    value: &mut Spanned<DeValue<'_>>,
    span: &Range<usize>,
    incomplete: &mut Vec<Range<usize>>,
) -> Option<Whole> {
    let own_span = value.span();
    match value.get_mut() {
        DeValue::Table(table) => out_of_table(table, own_span, span, incomplete),
        DeValue::Array(list) => out_of_list(list, span, incomplete),
        _ => None,
    }
}

fn out_of_list(
    list: &mut DeArray<'_>,
    span: &Range<usize>,
    incomplete: &mut Vec<Range<usize>>,
) -> Option<Whole> {
    let inside = list.iter_mut().find_map(|element| out_of_value(element, span, incomplete));
    if inside.is_some() {
        return inside;
    }
    let before = list.len();
    let elements = std::mem::replace(list, DeArray::new());
    *list = elements.into_iter().filter(|element| element.span() != *span).collect();
    (list.len() < before).then_some(Whole::List)
}
