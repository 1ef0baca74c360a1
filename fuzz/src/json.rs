//! The pointer walker against a tree that is built whole.

use std::fmt;

use forebay::http::json::{Pointer, Scalar};
use forebay::http::tap::Tap;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// `data`: a pointer, a line break, a document.
pub fn run(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (pointer, document) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let mut tap = Tap::default();
    document.chunks(7).for_each(|chunk| tap.push(chunk));
    let Some(document) = tap.whole() else { return };
    let Ok(text) = std::str::from_utf8(pointer) else { return };
    let Ok(pointer) = Pointer::parse(text) else { return };
    assert_eq!(pointer.to_string(), text);
    let found = pointer.find(document);
    // What the walker only skips, the tree may refuse (numbers without bounds, halves of surrogates, nesting).
    let Ok(tree) = serde_json::from_slice::<Tree>(document) else { return };
    let expected = text.split('/').skip(1).try_fold(&tree, |tree, token| tree.step(token));
    let found = found.unwrap_or_else(|_| panic!("a document that is none: {document:?}"));
    match (expected, found) {
        (None | Some(Tree::Array(_) | Tree::Object(_)), None) => {}
        (Some(Tree::Scalar(expected)), Some(found)) => assert_same(expected, &found),
        (expected, found) => panic!("{found:?} where the tree has {expected:?}"),
    }
}

fn assert_same(expected: &Value, found: &Scalar) {
    let is_same = match (expected, found) {
        (Value::Null, Scalar::Null) => true,
        (Value::Bool(expected), Scalar::Bool(found)) => expected == found,
        (Value::String(expected), Scalar::String(found)) => expected == found,
        (Value::Number(expected), Scalar::Number(found)) => {
            found.parse::<Number>().is_ok_and(|n| n == *expected)
        }
        _ => false,
    };
    assert!(is_same, "{found:?} where the tree has {expected:?}");
}

/// A document in which equal keys stand side by side.
#[derive(Debug)]
enum Tree {
    Scalar(Value),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// RFC 6901 section 4.
    fn step(&self, token: &str) -> Option<&Self> {
        let name = token.replace("~1", "/").replace("~0", "~");
        match self {
            Self::Scalar(_) => None,
            Self::Array(_) if name.starts_with('+') || name.len() > 1 && name.starts_with('0') => None,
            Self::Array(elements) => elements.get(name.parse::<usize>().ok()?),
            Self::Object(members) => members.iter().find(|(key, _)| *key == name).map(|(_, tree)| tree),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Planter)
    }
}

struct Planter;

impl<'de> Visitor<'de> for Planter {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Tree, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element()? {
            all.push(element);
        }
        Ok(Tree::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Tree::Object(all))
    }
}
