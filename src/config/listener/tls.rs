//! `[listener.tls]`: the certificates that clients see.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

/// TLS for everybody who comes in over TCP; Unix sockets stay in the clear. The files are read at the start and at every
/// reload.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["cert", "key"]))]
pub struct Tls {
    /// The certificate with its intermediates, the server's own first (path of a PEM file). Needed.
    #[schemars(with = "Option<String>")]
    pub cert: Option<Spanned<String>>,
    /// Its private key, not encrypted (path of a PEM file). Needed.
    #[schemars(with = "Option<String>")]
    pub key: Option<Spanned<String>>,
    /// Whose client certificates are accepted (path of a PEM file); every client must present one. Empty: nobody is
    /// asked for one.
    #[serde(default = "unset")]
    #[schemars(with = "String", default = "String::new")]
    pub client_ca: Spanned<String>,
    /// Further certificates, chosen by the name that a client asks for (SNI) among those that they are for; a client
    /// that asks for another name sees the one above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Pair>")]
    pub more: Vec<Spanned<Pair>>,
}

/// A certificate and its key.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("required" = ["cert", "key"]))]
pub struct Pair {
    /// The certificate with its intermediates, the server's own first (path of a PEM file).
    #[schemars(with = "Option<String>")]
    pub cert: Option<Spanned<String>>,
    /// Its private key, not encrypted (path of a PEM file).
    #[schemars(with = "Option<String>")]
    pub key: Option<Spanned<String>>,
}

fn unset() -> Spanned<String> {
    Spanned::new(0..0, String::new())
}

impl Tls {
    /// Every certificate with its key, that for all other names first.
    pub fn pairs(&self) -> impl Iterator<Item = (Option<&Spanned<String>>, Option<&Spanned<String>>)> {
        let more = self.more.iter().map(Spanned::get_ref);
        let more = more.map(|pair| (pair.cert.as_ref(), pair.key.as_ref()));
        std::iter::once((self.cert.as_ref(), self.key.as_ref())).chain(more)
    }

    /// Every file that is named.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let pairs = self.pairs().flat_map(|(cert, key)| [cert, key]).flatten();
        pairs.chain([&self.client_ca]).map(|path| PathBuf::from(path.get_ref()))
    }
}
