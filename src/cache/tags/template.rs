//! Tags as the configuration writes them: `scan:{scan_id}`.

/// A tag with places for the captures of its route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTemplate(Box<[Piece]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Capture(Box<str>),
}

/// Why a text is no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// There is nothing in it.
    #[error("a tag is not empty")]
    Empty,
    /// A brace without its partner.
    #[error("unbalanced brace in a tag; captures are written `{{name}}`")]
    Unbalanced,
    /// A capture that the route's patterns do not all have.
    #[error("no capture named `{0}` in every pattern of the route")]
    UnknownCapture(String),
}

impl TagTemplate {
    /// Reads a tag; `captures` are the names that it may use.
    ///
    /// # Errors
    ///
    /// See [`TagError`].
    pub fn parse(text: &str, captures: &[&str]) -> Result<Self, TagError> {
        if text.is_empty() {
            return Err(TagError::Empty);
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(TagError::Unbalanced)?;
            if before.contains('}') || name.contains('{') {
                return Err(TagError::Unbalanced);
            }
            if !captures.contains(&name) {
                return Err(TagError::UnknownCapture(name.to_owned()));
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(Piece::Capture(name.into()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(TagError::Unbalanced);
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces.into()))
    }

    /// The tag of one request; `None` where a capture has no value.
    pub fn render<'c>(&self, capture: impl Fn(&str) -> Option<&'c str>) -> Option<String> {
        let mut tag = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => tag.push_str(text),
                Piece::Capture(name) => tag.push_str(capture(name)?),
            }
        }
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_filled_in() {
        let capture = |name: &str| match name {
            "id" => Some("42"),
            "kind" => Some("scan"),
            _ => None,
        };
        for (text, expected) in
            [("scans", "scans"), ("scan:{id}", "scan:42"), ("{kind}{id}", "scan42"), ("a{id}b", "a42b")]
        {
            let tag = TagTemplate::parse(text, &["id", "kind"]).unwrap();
            assert_eq!(tag.render(capture).as_deref(), Some(expected));
            assert!(!text.contains('{') || tag.render(|_| None).is_none());
        }
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for (text, expected) in [
            ("", TagError::Empty),
            ("a{id", TagError::Unbalanced),
            ("a}", TagError::Unbalanced),
            ("a}{id}", TagError::Unbalanced),
            ("{i{id}", TagError::Unbalanced),
            ("{id}}", TagError::Unbalanced),
            ("{other}", TagError::UnknownCapture("other".to_owned())),
        ] {
            assert_eq!(TagTemplate::parse(text, &["id"]), Err(expected), "{text}");
        }
    }
}
