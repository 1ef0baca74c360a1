//! A key that takes one string or a list of them.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};
use toml::Spanned;

/// The values, each with its place in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOrMany<T>(pub Vec<Spanned<T>>);

impl<T> OneOrMany<T> {
    /// One value that stands in no file.
    pub fn one(value: T) -> Self {
        Self(vec![Spanned::new(0..0, value)])
    }

    /// The values without their places.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(Spanned::get_ref)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The place of the first value.
    pub fn span(&self) -> Option<Range<usize>> {
        self.0.first().map(Spanned::span)
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T> Deserialize<'de> for OneOrMany<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The place of a single string is known only outside of it, that of a list's elements only inside.
        let written = Spanned::<Written<T>>::deserialize(deserializer)?;
        let span = written.span();
        Ok(Self(match written.into_inner() {
            Written::One(value) => vec![Spanned::new(span, value)],
            Written::Many(values) => values,
        }))
    }
}

enum Written<T> {
    One(T),
    Many(Vec<Spanned<T>>),
}

impl<'de, T> Deserialize<'de> for Written<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor(PhantomData))
    }
}

struct WrittenVisitor<T>(PhantomData<T>);

impl<'de, T> Visitor<'de> for WrittenVisitor<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Value = Written<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map(Written::One).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(element) = list.next_element::<Spanned<Element<T>>>()? {
            let span = element.span();
            values.push(Spanned::new(span, element.into_inner().0));
        }
        Ok(Written::Many(values))
    }
}

struct Element<T>(T);

impl<'de, T> Deserialize<'de> for Element<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By a visitor: an error of its own has the place of the element, one after it that of the list.
        deserializer.deserialize_any(ElementVisitor(PhantomData))
    }
}

struct ElementVisitor<T>(PhantomData<T>);

impl<T> Visitor<'_> for ElementVisitor<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Value = Element<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map(Element).map_err(E::custom)
    }
}

impl<T: fmt::Display> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let [value] = self.0.as_slice() {
            return serializer.collect_str(value.get_ref());
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for value in self.values() {
            list.serialize_element(&value.to_string())?;
        }
        list.end()
    }
}

impl<T> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array"], "items": { "type": "string" } })
    }
}
