//! An upstream as a whole: its servers, the choice among them, and what a request may cost in second tries.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Request, Response};
use tokio::time::Instant;

use super::balance::{Balancer, Chosen, no_server};
use super::body::ResponseBody;
use super::connect::Network;
use super::pool::{Limits, Pool, ServerStats};
use super::retry::RetryBudget;
use super::sending::Sending;
use super::{Commitment, Error, HostHeader, Patience, Spec};
use crate::clock::Clock;
use crate::http::body::RequestBody;
use crate::metrics::{Counter, Histogram, StatusCounts};

/// An upstream with its state: what a route holds.
#[derive(Debug)]
pub struct Cluster {
    clock: Clock,
    network: Network,
    live: ArcSwap<Live>,
    figures: Figures,
}

/// What a reload may replace: the settings, and a pool for each server.
#[derive(Debug)]
struct Live {
    spec: Spec,
    /// What exchanges go by; each pool has the same for dials, sweeps and those who wait.
    limits: Limits,
    pools: Vec<Arc<Pool>>,
    balancer: Balancer,
    budget: RetryBudget,
}

/// Figures of an upstream over its life.
#[derive(Debug, Default)]
pub struct Figures {
    /// Attempts by the status that they ended with.
    pub statuses: StatusCounts,
    /// Attempts that ended without a status.
    pub errors: Counter,
    /// Attempts that ended with their client, or with its patience, before there was a status.
    pub cancelled: Counter,
    /// From the request handed over, or read where it has waited for nothing since, to the response's head.
    pub first_byte: Histogram,
    /// Requests that were sent again.
    pub retries: Counter,
}

impl Cluster {
    /// An upstream that opens its connections through `network`.
    pub fn new(spec: Spec, network: Network, clock: Clock) -> Self {
        let pools = spec
            .servers
            .iter()
            .map(|server| Arc::new(Pool::new(server.clone(), &spec, network.clone(), clock)))
            .collect();
        let live = ArcSwap::from_pointee(Live::new(spec, pools));
        Self { clock, network, live, figures: Figures::default() }
    }

    /// Takes new settings; pools of servers that stay keep their connections and figures.
    pub fn reconfigure(&self, spec: Spec) {
        let old = self.live.load();
        let pools = spec.servers.iter().map(|server| {
            let kept = old.pools.iter().find(|pool| pool.server() == server);
            kept.map_or_else(
                || Arc::new(Pool::new(server.clone(), &spec, self.network.clone(), self.clock)),
                |pool| {
                    pool.reconfigure(&spec);
                    Arc::clone(pool)
                },
            )
        });
        let pools = pools.collect();
        self.live.store(Arc::new(Live::new(spec, pools)));
    }

    /// How long it is waited for.
    pub fn patience(&self) -> Patience {
        Patience::from(&self.live.load().spec)
    }

    /// Sends a request and waits for the response's head; `now` is the time. The connection stays with the response's body.
    ///
    /// With a `commitment` the wait for the head has no limit of its own, and the commitment is made when the request
    /// begins to be sent.
    ///
    /// # Errors
    /// See [`enum@Error`]; the request's body, where it had one, is gone then.
    // Not `async`: that would be one future more around the same one.
    pub fn send(
        &self,
        request: Box<Request<RequestBody>>,
        commitment: Option<&Commitment>,
        now: Instant,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Error>> {
        self.send_on(request, commitment, now, false)
    }

    /// The same for a client that has another answer at hand: what a server may have read is not sent to it again. A
    /// request that ends a server would else end the next one, too.
    ///
    /// # Errors
    /// See [`Self::send`].
    pub fn send_once(
        &self,
        request: Box<Request<RequestBody>>,
        now: Instant,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Error>> {
        self.send_on(request, None, now, true)
    }

    async fn send_on(
        &self,
        request: Box<Request<RequestBody>>,
        commitment: Option<&Commitment>,
        began: Instant,
        is_only_once: bool,
    ) -> Result<Response<ResponseBody>, Error> {
        let live = self.live.load_full();
        live.budget.deposit();
        let mut sending = Sending::new(request, commitment, began);
        sending.is_only_once = is_only_once;
        sending.cancelled = Some(&self.figures.cancelled);
        let mut retries_left = live.spec.retries;
        let mut tried: Option<&Pool> = None;
        loop {
            let chosen = live.choose(tried, &mut sending)?;
            tried = Some(chosen.pool);
            match chosen.pool.exchange(&mut sending, chosen.trial, &live.limits).await {
                Ok(status) => {
                    sending.cancelled = None;
                    self.figures.statuses.inc(status);
                    self.figures.first_byte.observe(sending.now.saturating_duration_since(began));
                    return Ok(sending.into_answer());
                }
                Err(error) => {
                    let figure =
                        if sending.is_clients_fault { &self.figures.cancelled } else { &self.figures.errors };
                    if !error.is_without_attempt() {
                        figure.inc();
                    }
                    let may_retry = sending.can_be_sent_again()
                        && retries_left > 0
                        && error.is_worth_another_try(live.pools.len());
                    if !may_retry || !live.budget.withdraw(self.clock.now()) {
                        sending.cancelled = None;
                        return Err(error);
                    }
                    retries_left -= 1;
                    self.figures.retries.inc();
                }
            }
        }
    }

    /// A question of our own: sent once, and in no figure of what clients have cost this upstream.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub async fn probe(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, Error> {
        let live = self.live.load_full();
        let mut sending = Sending::new(Box::new(request), None, self.clock.now());
        let chosen = live.choose(None, &mut sending)?;
        chosen.pool.exchange(&mut sending, chosen.trial, &live.limits).await?;
        Ok(sending.into_answer())
    }

    /// Whether there is a server to be asked at all, so that nobody waits for a permit in vain.
    ///
    /// # Errors
    /// [`Error::NoServer`].
    pub fn expect_a_server(&self, now: Instant) -> Result<(), Error> {
        let live = self.live.load();
        let may_be_asked = |pool: &Arc<Pool>| !pool.standing().is_doubted() || pool.may_be_asked(now);
        if live.pools.iter().any(may_be_asked) { Ok(()) } else { Err(no_server(&live.pools, now)) }
    }

    /// The figures of this upstream.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The state of each server's pool.
    pub fn servers(&self) -> Vec<ServerStats> {
        self.live.load().pools.iter().map(|pool| pool.stats()).collect()
    }

    /// Starts the health checks and look-ups that are due; when it is to be called again.
    pub fn tend(&self) -> Option<Instant> {
        let now = self.clock.now();
        self.live.load().pools.iter().filter_map(|pool| pool.tend(now)).min()
    }

    /// Closes connections that were idle for too long or have got too old; to be called every second.
    pub fn sweep(&self) {
        let now = self.clock.now();
        self.live.load().pools.iter().for_each(|pool| pool.sweep(now));
    }
}

impl Live {
    fn new(spec: Spec, pools: Vec<Arc<Pool>>) -> Self {
        let (balancer, budget) = (Balancer::new(spec.balance), RetryBudget::new(spec.retry_budget));
        Self { limits: Limits::from(&spec), spec, pools, balancer, budget }
    }

    /// The server for a request, whose `Host` is made right for it.
    fn choose(&self, tried: Option<&Pool>, sending: &mut Sending<'_>) -> Result<Chosen<'_>, Error> {
        let may_try = sending.may_try();
        let chosen = self.balancer.choose(&self.pools, tried, sending.now, may_try)?;
        if self.spec.host == HostHeader::Upstream {
            sending.name_host(chosen.pool.server());
        }
        Ok(chosen)
    }
}
