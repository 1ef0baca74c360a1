//! JSON for machines, text for people.

use std::str::FromStr;

use thiserror::Error;

/// How lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Format {
    /// Whether a stream gets JSON.
    pub fn is_json(self, is_terminal: bool) -> bool {
        match self {
            Self::Auto => !is_terminal,
            Self::Json => true,
            Self::Text => false,
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(UnknownFormat),
        }
    }
}

/// Not one of the three formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a log format is \"auto\", \"json\" or \"text\"")]
pub struct UnknownFormat;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_text_on_a_terminal_only() {
        assert!(Format::Auto.is_json(false) && !Format::Auto.is_json(true));
        assert!(Format::Json.is_json(true) && !Format::Text.is_json(false));
        assert_eq!("jsno".parse::<Format>(), Err(UnknownFormat));
    }
}
