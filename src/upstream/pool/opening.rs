//! Opening connections: one for each that waits, within the cap.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Pool;
use super::limits::{Limits, scattered};
use super::queue::Offer;
use crate::upstream::channel::Opened;
use crate::upstream::connection::Connection;
use crate::upstream::multiplexed::Multiplexed;
use crate::upstream::{Error, Scheme};

impl Pool {
    /// Starts the dials that are missing: one for each that waits, within the cap.
    pub(super) fn serve_waiting(self: &Arc<Self>) {
        let limits = self.limits.load();
        let mut state = self.state.lock();
        if !state.does_anybody_wait() || !state.has_room(&limits) {
            return;
        }
        state.upgrades.forget_who_left();
        state.line.forget_who_left();
        let is_resting = state.rests_until.is_some_and(|until| self.clock.now() < until);
        let to_share = if is_resting { 0 } else { self.dialect.dials(state.line.len()) };
        // In this order: where there are upgrades one connection is opened for all others, and upgrades that keep coming
        // must not take its place each time.
        for (offer, wanted) in [(Offer::All, to_share), (Offer::Http1, state.upgrades.len())] {
            while state.queue(offer).dialing < wanted && state.has_room(&limits) {
                state.queue(offer).dialing += 1;
                state.open += 1;
                let (pool, limits) = (Arc::clone(self), Arc::clone(&limits));
                tokio::spawn(async move { pool.dial(offer, &limits).await });
            }
        }
    }

    async fn dial(self: Arc<Self>, offer: Offer, limits: &Limits) {
        let began = self.clock.now();
        // In a task of its own: a panic must not keep the place of the connection.
        let (pool, limit) = (Arc::clone(&self), limits.connect_timeout);
        let opening = tokio::spawn(async move { pool.open(offer, limit).await });
        match opening.await.unwrap_or(Err(Error::ConnectionRefused)) {
            Ok(opened) => {
                self.created.inc();
                self.connect_time.add(self.clock.now().saturating_duration_since(began));
                match opened {
                    Opened::Own(connection) => self.hand_over(connection),
                    Opened::Shared(connection) => self.welcome(connection),
                }
                // Only now: until somebody has got the connection, nobody else dials for the one who waits for it.
                self.state.lock().queue(offer).dialing -= 1;
            }
            Err(error) => self.dial_failed(offer, error),
        }
        self.serve_waiting();
    }

    fn dial_failed(&self, offer: Offer, error: Error) {
        if error.blames_the_server() {
            let now = self.clock.since_start(self.clock.now()).as_millis();
            self.dial_failed_at.store(u64::try_from(now).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
        }
        // Where one connection is opened for all, its failure is everybody's.
        let is_everybodys = offer == Offer::All && !self.dialect.is_http_1();
        let mut state = self.state.lock();
        state.open -= 1;
        let queue = state.queue(offer);
        queue.dialing -= 1;
        while let Some(waiting) = queue.pop() {
            if waiting.send(Err(error)).is_ok() && !is_everybodys {
                break;
            }
        }
    }

    /// A new connection, on which a request can be sent within `limit`.
    pub(in crate::upstream) async fn open(&self, offer: Offer, limit: Duration) -> Result<Opened, Error> {
        let (limits, deadline) = (self.limits.load_full(), self.clock.now() + limit);
        let line = self.dialer.dial(limit, limits.tls.as_ref(), offer).await?;
        let born = scattered(self.clock.now(), limits.max_age);
        if offer == Offer::All {
            self.dialect.learn(line.is_http_2);
        }
        if line.is_http_2 {
            let is_secure = self.server.scheme() == Scheme::Https;
            let agreed = Multiplexed::over(line, is_secure, born, self.clock);
            let agreed = tokio::time::timeout_at(deadline, agreed).await;
            return agreed.map_err(|_| Error::ConnectTimeout)?.map(Opened::Shared);
        }
        let mut connection = Connection::over(line, self.clock).await?;
        connection.born = born;
        Ok(Opened::Own(connection))
    }
}
