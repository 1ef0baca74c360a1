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
use super::problem::{Problem, Problems, closest};
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
    lost: Vec<Lost>,
}

/// A key whose value could not be read, or not all of it.
#[derive(Debug, Clone)]
struct Lost {
    /// The place of the table that it was in.
    table: Range<usize>,
    /// As it is written.
    key: String,
    /// Whether there is no such key; another one was meant.
    is_unknown: bool,
}

impl Loaded {
    /// Whether the key was there and could not be read, perhaps because it was misspelt; that the table at this place lacks
    /// it means nothing then.
    pub fn has_lost(&self, table: &Range<usize>, key: &str) -> bool {
        self.lost.iter().filter(|lost| lost.table == *table).any(|lost| match lost.is_unknown {
            true => closest(&lost.key, [key]).is_some(),
            false => lost.key == key,
        })
    }
}

/// Reads a file. An error is one that leaves nothing to look at: no such file, not UTF-8, or not TOML.
pub fn load(path: &Path, env: Lookup<'_>) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    match read(path) {
        Ok(text) => parse(&name, &text, env),
        Err((problem, text)) => Err(Problems::new(Source::new(&name, &text), vec![problem])),
    }
}

/// The text; or what is wrong, with what of the text can be shown.
fn read(path: &Path) -> Result<String, (Problem, String)> {
    let whole = |message: String| Err((Problem::of_file(message), String::new()));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return whole(format!("cannot read the configuration: {error}"));
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return whole("larger than 4 MiB: this is no configuration".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let problem = Problem::of_file("not UTF-8: this byte belongs to no character");
        let end = offset + char::REPLACEMENT_CHARACTER.len_utf8();
        (Problem { span: Some(offset..end), ..problem }, text)
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
    let mut lost = Vec::new();
    for failure in expand_table(table.get_mut(), text, env) {
        take_out(&mut table, &failure.value, &mut lost);
        problems.push(failure.problem);
    }
    let config = read_past_problems(table, text, &mut problems, &mut lost);
    Ok(Loaded { config, source, problems, lost })
}

/// Its place is in the file wherever it is, at the first byte too.
fn syntax_problem(error: &toml::de::Error) -> Problem {
    Problem { span: error.span(), ..Problem::of_file(error.message()) }
}

fn read_past_problems(
    mut table: Spanned<DeTable<'_>>,
    text: &str,
    problems: &mut Vec<Problem>,
    lost: &mut Vec<Lost>,
) -> Config {
    while problems.len() < MAX_PROBLEMS {
        let error = match Config::deserialize(Deserializer::from(table.clone())) {
            Ok(config) => return config,
            Err(error) => error,
        };
        let span = error.span().unwrap_or_else(|| table.span());
        let written = text.get(span.clone()).unwrap_or_default();
        problems.push(wording::problem(error.message(), span.clone(), written));
        if !take_out(&mut table, &span, lost) {
            break;
        }
    }
    Config::default()
}

/// Takes out what stands exactly at `span`: the innermost entry of a table or element of a list with that key or value.
fn take_out(table: &mut Spanned<DeTable<'_>>, span: &Range<usize>, lost: &mut Vec<Lost>) -> bool {
    let own_span = table.span();
    out_of_table(table.get_mut(), own_span, span, lost).is_some()
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
    lost: &mut Vec<Lost>,
) -> Option<Whole> {
    let inside = table.iter_mut().find_map(|(key, value)| {
        let whole = out_of_value(value, span, lost)?;
        Some((whole, key.get_ref().to_string()))
    });
    let (key, is_unknown) = match inside {
        Some((Whole::Table, _)) => return Some(Whole::Table),
        // A list that lost an element is a key of this table that says less than was written.
        Some((Whole::List, key)) => (key, false),
        None => {
            let stands_there =
                |(key, value): &(&Spanned<_>, &Spanned<_>)| key.span() == *span || value.span() == *span;
            let (key, _) = table.iter().find(stands_there)?;
            let (key, is_unknown) = (key.get_ref().to_string(), key.span() == *span);
            table.remove(key.as_str())?;
            (key, is_unknown)
        }
    };
    lost.push(Lost { table: own_span, key, is_unknown });
    Some(Whole::Table)
}

fn out_of_value(
    value: &mut Spanned<DeValue<'_>>,
    span: &Range<usize>,
    lost: &mut Vec<Lost>,
) -> Option<Whole> {
    let own_span = value.span();
    match value.get_mut() {
        DeValue::Table(table) => out_of_table(table, own_span, span, lost),
        DeValue::Array(list) => out_of_list(list, span, lost),
        _ => None,
    }
}

fn out_of_list(list: &mut DeArray<'_>, span: &Range<usize>, lost: &mut Vec<Lost>) -> Option<Whole> {
    let inside = list.iter_mut().find_map(|element| out_of_value(element, span, lost));
    if inside.is_some() {
        return inside;
    }
    let before = list.len();
    let elements = std::mem::replace(list, DeArray::new());
    *list = elements.into_iter().filter(|element| element.span() != *span).collect();
    (list.len() < before).then_some(Whole::List)
}
