//! `[admin]`: the listener of the operator.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use super::listener::socket_address;

/// Health, metrics and control: never rate limited, never on the public port.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where to listen, `IP:PORT`.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "String")]
    pub address: Spanned<SocketAddr>,
    /// Asked for as `Authorization: Bearer TOKEN` on everything but `/healthz` and `/readyz`. Empty: nothing is asked
    /// for, which is allowed on a loopback address only.
    #[schemars(with = "String")]
    pub token: Spanned<String>,
    /// Names under which the admin listener may be asked, besides its address and localhost.
    #[schemars(with = "Vec<String>")]
    pub hosts: Vec<Spanned<String>>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: Spanned::new(0..0, SocketAddr::from((Ipv4Addr::LOCALHOST, 9090))),
            token: Spanned::new(0..0, String::new()),
            hosts: Vec::new(),
        }
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Spanned<SocketAddr>, D::Error> {
    let text = Spanned::<String>::deserialize(deserializer)?;
    let address = socket_address(text.get_ref()).map_err(D::Error::custom)?;
    Ok(Spanned::new(text.span(), address))
}
