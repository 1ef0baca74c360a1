//! What makes two starts the same.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http_body::Body as _;
use http_body_util::{BodyExt as _, Collected};
use hyper::body::Incoming;

use crate::client::Identity;
use crate::dedupe::By;
use crate::digest::{Digest, Digester};
use crate::http::body::{RequestBody, UploadBounds, UploadFault};
use crate::http::fields;
use crate::http::target::host;
use crate::policy::Dedupe;
use crate::proxy::Proxy;
use crate::proxy::asked::Asked;
use crate::refusal::Refusal;

/// The largest request body that is compared, in bytes.
const MOST_UPLOADED: u64 = 1 << 20;
/// The longest value of a key field, in bytes.
const LONGEST_KEY: usize = 256;

/// What a start is the same as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) key: u128,
    /// The same for all requests that the key stands for.
    pub(super) fingerprint: u128,
}

impl Proxy {
    /// What makes the request the same as another. Its body is read for that; none where it is not comparable.
    pub(super) async fn start(
        &self,
        asked: &mut Asked,
        dedupe: &Dedupe,
        body: &mut Option<Incoming>,
    ) -> Result<Option<Start>, Refusal> {
        let chosen = match &dedupe.by {
            By::Body => None,
            By::Header(name) => match chosen_key(&asked.parts.headers, name) {
                Some(value) => Some(value.to_vec()),
                None => return Ok(None),
            },
        };
        let size = body.as_ref().map_or(Some(0), |body| body.size_hint().exact());
        let size = size.filter(|size| *size <= MOST_UPLOADED);
        let Some(room) = size.and_then(|size| dedupe.starts.room(size)) else { return Ok(None) };
        let upload = match body.take() {
            Some(incoming) => self.read(incoming, asked).await?,
            None => Bytes::new(),
        };
        let digester = &self.state.digester;
        let content = content(digester, &asked.parts, &upload);
        let (what, fingerprint) = match chosen {
            Some(value) => (value, content),
            None => (content.to_be_bytes().to_vec(), 0),
        };
        let who = (asked.identity(), asked.client.ip);
        let key = key(digester, &asked.route().name, &asked.parts, who, &what);
        asked.upload = Some((upload, room));
        Ok(Some(Start { key, fingerprint }))
    }

    async fn read(&self, incoming: Incoming, asked: &Asked) -> Result<Bytes, Refusal> {
        let patience = asked.route().upstream.patience().body;
        let min_rate = self.policy.load().listener.min_body_rate;
        // Of a known length: in HTTP/1.1 nothing comes behind it.
        let bounds = UploadBounds { most: MOST_UPLOADED, patience, min_rate, is_http2: true };
        let (upload, outcome) = RequestBody::upload(incoming, bounds, self.state.clock);
        let read = upload.collect().await;
        let fault = || outcome.fault().unwrap_or(UploadFault::Broken);
        read.map(Collected::to_bytes).map_err(|_| Refusal::Upload(fault()))
    }
}

/// What an equal start has in common: its kind, where it goes, whose it is, and `what` tells it from others.
fn key(digester: &Digester, route: &str, parts: &Parts, who: (Identity, IpAddr), what: &[u8]) -> u128 {
    let mut digest = digester.begin();
    [b"start".as_slice(), route.as_bytes(), parts.method.as_str().as_bytes()]
        .into_iter()
        .for_each(|part| digest.add(part));
    digest.add(host(&parts.headers).as_bytes());
    digest.add(parts.uri.path_and_query().map_or("", |target| target.as_str()).as_bytes());
    match who {
        (Identity::Known(identity), _) => add(&mut digest, b"known", &identity.to_be_bytes()),
        (Identity::Anonymous, IpAddr::V4(address)) => add(&mut digest, b"v4", &address.octets()),
        (Identity::Anonymous, IpAddr::V6(address)) => add(&mut digest, b"v6", &address.octets()),
    }
    digest.add(what);
    digest.finish()
}

/// What a request brings, and how it is to be read.
fn content(digester: &Digester, parts: &Parts, upload: &[u8]) -> u128 {
    let mut digest = digester.begin();
    digest.add(b"content");
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        add(&mut digest, b"", parts.headers.get(name).map_or(b"", |value| value.as_bytes()));
    }
    digest.add(upload);
    digest.finish()
}

fn add(digest: &mut Digest, kind: &[u8], value: &[u8]) {
    digest.add(kind);
    digest.add(value);
}

/// The value of a field that is there once, and usable as a key.
fn chosen_key<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let value = fields::only(headers, name).map(HeaderValue::as_bytes);
    value.filter(|value| (1..=LONGEST_KEY).contains(&value.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn who() -> impl Strategy<Value = (Identity, IpAddr)> {
        let identity = prop_oneof![Just(Identity::Anonymous), (0..3_u128).prop_map(Identity::Known)];
        let address = prop_oneof![
            (0..3_u32).prop_map(|bits| IpAddr::V4(bits.into())),
            (0..3_u128).prop_map(|bits| IpAddr::V6(bits.into())),
        ];
        (identity, address)
    }

    fn parts(path: &str, kind: &str) -> Parts {
        let request = http::Request::post(path).header("host", "a").header("content-type", kind);
        request.body(()).unwrap().into_parts().0
    }

    proptest! {
        #[test]
        fn no_two_identities_share_a_start(one in who(), other in who(), body in 0..3_u8, others_body in 0..3_u8) {
            let digester = Digester::keyed_by("test");
            let of = |who, body: u8| {
                let parts = parts("/scan", "text/plain");
                let content = content(&digester, &parts, &[body]);
                key(&digester, "scans", &parts, who, &content.to_be_bytes())
            };
            let is_one_identity = match (one.0, other.0) {
                (Identity::Anonymous, Identity::Anonymous) => one.1 == other.1,
                (one, other) => one == other,
            };
            prop_assert_eq!(of(one, body) == of(other, others_body), is_one_identity && body == others_body);
        }
    }

    #[test]
    fn another_target_or_kind_of_body_is_another_start() {
        let digester = Digester::keyed_by("test");
        let anonymous = (Identity::Anonymous, IpAddr::from([127, 0, 0, 1]));
        let key_of = |route, path| key(&digester, route, &parts(path, "a/b"), anonymous, b"k");
        let keys = [key_of("r", "/a"), key_of("r", "/a?b"), key_of("s", "/a")];
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
        let of_kind = |kind| content(&digester, &parts("/a", kind), b"{}");
        assert_ne!(of_kind("text/plain"), of_kind("application/json"));
    }

    #[test]
    fn a_key_is_one_short_value() {
        let name = HeaderName::from_static("idempotency-key");
        for (values, expected) in [
            (vec!["a"], true),
            (vec![], false),
            (vec![""], false),
            (vec!["a", "a"], false),
            (vec![&*"x".repeat(257)], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(&name, value.parse().unwrap());
            }
            assert_eq!(chosen_key(&headers, &name).is_some(), expected, "{values:?}");
        }
    }
}
