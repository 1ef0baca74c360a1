//! Who is asking.
//!
//! Three answers to three questions: the *address* of the client behind the proxies that we trust, its *identity* (the
//! credentials it carries, which decide whose response it may see), and its *partition key* (which counter a limit
//! counts it under). Addresses and partition keys are canonical: two spellings of one client are one client. Identities are not:
//! where two credentials may be two users, they are. Credentials and addresses leave this module only as keyed digests.

mod address;
mod cookie;
mod form;
mod identity;
mod key;

pub use address::{ClientAddress, TrustedProxies, TrustedProxyError};
pub use identity::{Identity, IdentityFields};
pub use key::{KeySource, KeySourceError, KeySpec, PartitionKey, Seen};
