//! What there is to tell about a request; as JSON a stable object.

use std::net::IpAddr;

use http::request::Parts;
use serde::Serialize;

use super::jobs::JobReport;
use super::limits::{InFlightReport, RateLimitReport, dedupe_in_words};
use super::routing::{Rival, Winner, judge};
use super::sharing::{CacheReport, CollapseReport};
use crate::client::{ClientAddress, Identity};
use crate::config::values::Period;
use crate::digest::short;
use crate::http::coding::{Accepted, Coding};
use crate::http::fields::{self, Present};
use crate::http::scheme::Scheme;
use crate::http::target::host;
use crate::policy::{Policy, State};
use crate::proxy::asked::Asked;
use crate::proxy::intake::{check_upload, look};
use crate::refusal::Refusal;
use crate::upstream;

/// All of it. What depends on the route is null or empty where there is none.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The request as forebay reads it.
    pub(super) request: Canonical,
    /// What forebay answers itself, whatever else is told.
    pub(super) answer: Option<Answer>,
    pub(super) route: Option<Winner>,
    /// The patterns that do not take it, from near to far.
    pub(super) others: Vec<Rival>,
    pub(super) client: Client,
    pub(super) identity: Option<IdentityReport>,
    pub(super) rate_limits: Vec<RateLimitReport>,
    /// With which others it is one start.
    pub(super) dedupe: Option<String>,
    pub(super) in_flight: Option<InFlightReport>,
    /// What it has to do with a job.
    pub(super) job: Option<JobReport>,
    pub(super) cache: Option<CacheReport>,
    pub(super) collapse: Option<CollapseReport>,
    /// The coding that a text gets after the cache, or `none`; null where the route does not compress.
    pub(super) compress: Option<&'static str>,
    pub(super) upstream: Option<Upstream>,
    /// For the whole exchange.
    pub(super) timeout: Option<String>,
    /// Tags whose stored responses are dropped when it succeeds.
    pub(super) invalidates: Vec<String>,
}

/// The request's one spelling.
#[derive(Debug, Serialize)]
pub(super) struct Canonical {
    pub(super) method: String,
    pub(super) scheme: &'static str,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
}

/// An answer of forebay's own.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) detail: String,
}

/// Who asks, by address.
#[derive(Debug, Serialize)]
pub(super) struct Client {
    pub(super) address: IpAddr,
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// Whether that is a proxy whose forwarding fields are believed.
    pub(super) trusted: bool,
    /// Where the address is from.
    pub(super) because: &'static str,
}

/// Who asks, by credentials.
#[derive(Debug, Serialize)]
pub(super) struct IdentityReport {
    pub(super) known: bool,
    /// Equal ones are the same client.
    pub(super) digest: Option<String>,
    /// The fields and cookies that make it known; all that could, where it is not.
    pub(super) by: Vec<String>,
}

/// Where it goes.
#[derive(Debug, Serialize)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) servers: Vec<String>,
    /// Connections to each server; 0: no cap.
    pub(super) max_connections: usize,
    /// How long it may take to answer.
    pub(super) first_byte_timeout: String,
}

impl Report {
    pub(super) fn of(
        mut head: Parts,
        peer: IpAddr,
        policy: &Policy,
        state: &State,
        upstreams: &[upstream::Spec],
    ) -> Self {
        let upload = fields::content_length(&head.headers).unwrap_or(0);
        let has_body = upload > 0 || head.headers.contains_key(http::header::TRANSFER_ENCODING);
        let (scheme, present) = (Scheme::of(&head.uri), Present::of(&head.headers));
        let found = look(&mut head, present, scheme, policy)
            .and_then(|found| check_upload(upload, policy).map(|()| found));
        let address = policy.trusted_proxies.resolve(peer, &head.headers);
        let (route, others) = match &found {
            Ok(Some(_)) | Err(Refusal::NoRoute) => judge(policy, &head),
            Ok(None) | Err(_) => (None, Vec::new()),
        };
        let mut report = Self {
            request: Canonical::of(&head, scheme),
            answer: Answer::of(&found),
            route,
            others,
            client: Client::of(address, &head),
            identity: None,
            rate_limits: Vec::new(),
            dedupe: None,
            in_flight: None,
            job: None,
            cache: None,
            collapse: None,
            compress: None,
            upstream: None,
            timeout: None,
            invalidates: Vec::new(),
        };
        if let Ok(Some(found)) = found {
            let coding = Accepted::of(&head.headers).coding.map_or("none", Coding::as_str);
            report.compress = Some(coding).filter(|_| found.0.route.compress);
            let asked =
                Asked::new((Box::new(head), present), found, address, scheme, has_body, state.digester);
            report.follow(&asked, state, upstreams);
        }
        report
    }

    /// What the request's route does with it.
    fn follow(&mut self, asked: &Asked, state: &State, upstreams: &[upstream::Spec]) {
        let (route, digester) = (asked.route(), &state.digester);
        self.identity = Some(IdentityReport::of(asked));
        self.rate_limits = RateLimitReport::all(asked, digester);
        self.dedupe = route.dedupe.as_ref().filter(|_| asked.may_be_repeated()).map(dedupe_in_words);
        self.in_flight = route.in_flight.as_ref().map(|pool| InFlightReport::of(pool, asked, digester));
        self.job = JobReport::of(asked);
        self.cache = Some(CacheReport::of(asked, state));
        self.collapse = Some(CollapseReport::of(asked));
        let is_meant = |spec: &&upstream::Spec| spec.name == route.upstream_name;
        self.upstream = upstreams.iter().find(is_meant).map(Upstream::of);
        self.timeout = route.timeout.map(|timeout| Period(timeout).to_string());
        if !asked.parts.method.is_safe() {
            let tags = route.invalidates.iter();
            self.invalidates = tags.filter_map(|tag| tag.render(|name| asked.capture(name))).collect();
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).map_or_else(|error| error.to_string(), |json| json + "\n")
    }
}

impl Canonical {
    fn of(head: &Parts, scheme: Scheme) -> Self {
        Self {
            method: head.method.to_string(),
            scheme: scheme.as_str(),
            host: host(&head.headers).to_owned(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
        }
    }
}

impl Answer {
    fn of<T>(found: &Result<Option<T>, Refusal>) -> Option<Self> {
        match found {
            Ok(Some(_)) => None,
            Ok(None) => Some(Self { status: 204, detail: "OPTIONS * asks about forebay itself.".to_owned() }),
            Err(refusal) => {
                Some(Self { status: refusal.status().as_u16(), detail: refusal.detail().into_owned() })
            }
        }
    }
}

impl Client {
    fn of(address: ClientAddress, head: &Parts) -> Self {
        let says = |name: &str| head.headers.contains_key(name);
        let ClientAddress { ip, peer, via_trusted, .. } = address;
        let because = match (via_trusted, says("x-forwarded-for"), says("forwarded")) {
            (true, true, _) => "the rightmost hop of X-Forwarded-For that is no trusted proxy",
            (true, false, true) => "the rightmost hop of Forwarded that is no trusted proxy",
            (true, false, false) => "a trusted proxy that names nobody else",
            (false, false, false) => "the connection's own address",
            (false, ..) => {
                "the connection's own address: it is no trusted proxy, what it forwards is not believed"
            }
        };
        Self { address: ip, peer, trusted: via_trusted, because }
    }
}

impl IdentityReport {
    fn of(asked: &Asked) -> Self {
        let fields = &asked.route().identity;
        match asked.identity() {
            Identity::Anonymous => Self { known: false, digest: None, by: fields.names().collect() },
            Identity::Known(digest) => Self {
                known: true,
                digest: Some(short(digest)),
                by: fields.names_in(&asked.parts.headers).collect(),
            },
        }
    }
}

impl Upstream {
    fn of(spec: &upstream::Spec) -> Self {
        Self {
            name: spec.name.to_string(),
            servers: spec.servers.iter().map(|server| format!("http://{server}")).collect(),
            max_connections: spec.max_connections,
            first_byte_timeout: Period(spec.first_byte_timeout).to_string(),
        }
    }
}
