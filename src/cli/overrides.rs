//! What flags and the environment say in place of the file. An empty variable counts as unset.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;

use toml::Spanned;

use crate::config::env::Lookup;
use crate::config::listener::{Address, socket_address};
use crate::config::one_or_many::OneOrMany;
use crate::config::{Config, Loaded};

/// The variable that stands for `listener.address`.
pub(super) const LISTEN: &str = "FOREBAY_LISTEN";
/// The variable that stands for `admin.address`.
pub(super) const ADMIN: &str = "FOREBAY_ADMIN";

/// The keys that need no file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Overrides {
    /// `listener.address`.
    pub(super) listen: Option<Address>,
    /// `admin.address`.
    pub(super) admin: Option<SocketAddr>,
}

impl Overrides {
    /// What the environment says.
    ///
    /// # Errors
    /// A line for every variable that cannot be read, with its name.
    pub(super) fn of(env: Lookup<'_>) -> Result<Self, Vec<String>> {
        match (read(env, LISTEN, Address::from_str), admin(env)) {
            (Ok(listen), Ok(admin)) => Ok(Self { listen, admin }),
            (listen, admin) => Err(listen.err().into_iter().chain(admin.err()).collect()),
        }
    }

    /// Puts them in place of what was read.
    pub(super) fn apply(&self, mut loaded: Loaded) -> Loaded {
        let Config { listener, admin, .. } = &mut loaded.config;
        if let Some(address) = &self.listen {
            listener.address = OneOrMany::one(address.clone());
        }
        if let Some(address) = self.admin {
            admin.address = Spanned::new(0..0, address);
        }
        loaded
    }
}

/// What the environment says of the admin listener alone.
///
/// # Errors
/// The name of the variable, and what is wrong with it.
pub(super) fn admin(env: Lookup<'_>) -> Result<Option<SocketAddr>, String> {
    read(env, ADMIN, socket_address)
}

fn read<T, E: Display>(
    env: Lookup<'_>,
    variable: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, String> {
    let value = env(variable).filter(|value| !value.is_empty());
    value.map(|value| parse(&value).map_err(|error| format!("{variable}: {error}"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(listen: &str, admin: &str) -> Result<Overrides, Vec<String>> {
        Overrides::of(&|name| match name {
            LISTEN => Some(listen.to_owned()),
            ADMIN => Some(admin.to_owned()),
            _ => None,
        })
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        assert_eq!(overrides("", ""), Ok(Overrides::default()));
        assert_eq!(Overrides::of(&|_| None), Ok(Overrides::default()));
    }

    #[test]
    fn every_variable_that_cannot_be_read_is_named_with_the_form_to_write() {
        let errors = overrides("8080", "here").unwrap_err();
        assert_eq!(errors.len(), 2, "{errors:?}");
        for (error, begin) in errors.iter().zip(["FOREBAY_LISTEN: `8080`", "FOREBAY_ADMIN: `here`"]) {
            assert!(error.starts_with(begin) && error.contains("127.0.0.1:8080"), "{error}");
        }
        assert_eq!(overrides("", "here").unwrap_err().len(), 1);
    }

    #[test]
    fn they_go_before_the_file() {
        let text = "[listener]\naddress = \"127.0.0.1:1\"\n[admin]\naddress = \"127.0.0.1:2\"\n";
        let loaded = crate::config::parse("f", text, &|_| None).unwrap();
        let loaded = overrides("unix:/run/f.sock", "localhost:4").unwrap().apply(loaded);
        assert_eq!(loaded.config.listener.address, OneOrMany::one("unix:/run/f.sock".parse().unwrap()));
        assert_eq!(loaded.config.admin.address.get_ref().to_string(), "127.0.0.1:4");
        let untouched = Overrides::default().apply(loaded);
        assert_eq!(untouched.config.admin.address.get_ref().port(), 4);
    }
}
