//! One value of a JSON document, by JSON Pointer (RFC 6901), without building the document.
//!
//! A pointer is compiled when the configuration is loaded. Looking one up walks the text once: what lies beside the way
//! is skipped, not kept, and recursion goes no deeper than the pointer is long, whatever a document nests. Of equal keys
//! in one object the first counts.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

/// How many steps a pointer may have; below the nesting at which the parser itself gives up (128).
const MAX_STEPS: usize = 32;

/// A compiled JSON Pointer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pointer {
    steps: Box<[Step]>,
}

/// One reference token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Step {
    name: Box<str>,
    /// Where the token can name an array's element, too (RFC 6901 section 4).
    index: Option<usize>,
}

/// Why a text is no pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PointerError {
    /// Neither empty nor `/...`.
    #[error("a JSON pointer begins with a slash")]
    NoSlash,
    /// `~` that is neither `~0` nor `~1`.
    #[error("in a JSON pointer `~` is written `~0`, and a slash in a name `~1`")]
    BadEscape,
    /// More than 32 steps.
    #[error("the JSON pointer has more than {MAX_STEPS} steps")]
    TooLong,
}

/// A document is not JSON (RFC 8259), or breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a JSON document")]
pub struct NotJson;

/// A JSON value that is neither an object nor an array.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// With its escapes resolved.
    String(String),
    /// As it is written in the document: `1`, `1.0` and `1e0` are three texts.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

impl Scalar {
    /// The value as text: a string's own characters, everything else as JSON writes it.
    pub fn text(&self) -> &str {
        match self {
            Self::String(text) | Self::Number(text) => text,
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Null => "null",
        }
    }
}

impl Pointer {
    /// Compiles `/a/b/0`; the empty text is the whole document.
    ///
    /// # Errors
    ///
    /// See [`PointerError`].
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Ok(Self { steps: Box::default() });
        }
        let tokens = text.strip_prefix('/').ok_or(PointerError::NoSlash)?;
        let steps: Box<[Step]> = tokens.split('/').map(Step::parse).collect::<Result<_, _>>()?;
        if steps.len() > MAX_STEPS {
            return Err(PointerError::TooLong);
        }
        Ok(Self { steps })
    }

    /// The scalar to which it leads; `None` where it leads nowhere, or to an object or array.
    ///
    /// # Errors
    ///
    /// [`NotJson`], also where only what lies behind the value is broken: a document that breaks off says nothing.
    pub fn find(&self, document: &[u8]) -> Result<Option<Scalar>, NotJson> {
        let text = std::str::from_utf8(document).map_err(|_| NotJson)?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let found = Walk(&self.steps).deserialize(&mut deserializer).map_err(|_| NotJson)?;
        deserializer.end().map_err(|_| NotJson)?;
        found.map_or(Ok(None), |raw| scalar(raw.get()))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps
            .iter()
            .try_for_each(|step| write!(f, "/{}", step.name.replace('~', "~0").replace('/', "~1")))
    }
}

impl Step {
    fn parse(token: &str) -> Result<Self, PointerError> {
        let mut escapes = token.split('~').skip(1);
        if !escapes.all(|rest| rest.starts_with(['0', '1'])) {
            return Err(PointerError::BadEscape);
        }
        // In this order: `~01` is `~1`, not a slash.
        let name = token.replace("~1", "/").replace("~0", "~");
        let is_index = name == "0" || !name.starts_with(['0', '+']);
        Ok(Self { index: name.parse().ok().filter(|_| is_index), name: name.into() })
    }
}

fn scalar(raw: &str) -> Result<Option<Scalar>, NotJson> {
    Ok(Some(match raw.as_bytes().first() {
        Some(b'{' | b'[') | None => return Ok(None),
        Some(b'"') => Scalar::String(serde_json::from_str(raw).map_err(|_| NotJson)?),
        Some(b't') => Scalar::Bool(true),
        Some(b'f') => Scalar::Bool(false),
        Some(b'n') => Scalar::Null,
        Some(_) => Scalar::Number(raw.to_owned()),
    }))
}

/// The way that is left.
#[derive(Clone, Copy)]
struct Walk<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0.split_first() {
            None => <&RawValue>::deserialize(deserializer).map(Some),
            Some((step, rest)) => deserializer.deserialize_any(Fork { step, rest: Self(rest) }),
        }
    }
}

/// A value with the step that leads into it.
struct Fork<'p> {
    step: &'p Step,
    rest: Walk<'p>,
}

impl<'de> Visitor<'de> for Fork<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut is_passed = false;
        while let Some(is_here) = map.next_key_seed(IsKey(&self.step.name))? {
            if is_here && !is_passed {
                is_passed = true;
                found = map.next_value_seed(self.rest)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        for _ in 0..self.step.index.unwrap_or(0) {
            if array.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = match self.step.index {
            Some(_) => array.next_element_seed(self.rest)?.flatten(),
            None => None,
        };
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether an object's key is this one.
struct IsKey<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests;
