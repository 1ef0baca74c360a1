//! Opening connections: one for each that waits, within the cap.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Pool;
use super::limits::{Limits, scattered};
use crate::upstream::channel::Opened;
use crate::upstream::connection::Connection;
use crate::upstream::multiplexed::Multiplexed;
use crate::upstream::{Error, Scheme};

impl Pool {
    /// Starts the dials that are missing: one for each that waits, within the cap.
    pub(super) fn serve_waiting(self: &Arc<Self>) {
        let limits = self.limits.load();
        let mut state = self.state.lock();
        let has_room = limits.max_connections == 0 || state.open < limits.max_connections;
        if state.waiting.is_empty() || !has_room {
            return;
        }
        state.waiting.retain(|waiting| !waiting.is_closed());
        while state.dialing < self.dialect.dials(state.waiting.len())
            && (limits.max_connections == 0 || state.open < limits.max_connections)
        {
            state.dialing += 1;
            state.open += 1;
            let (pool, limits) = (Arc::clone(self), Arc::clone(&limits));
            tokio::spawn(async move { pool.dial(&limits).await });
        }
    }

    async fn dial(self: Arc<Self>, limits: &Limits) {
        let began = self.clock.now();
        match self.open(limits.connect_timeout).await {
            Ok(opened) => {
                self.created.inc();
                self.connect_time.add(self.clock.now().saturating_duration_since(began));
                match opened {
                    Opened::Own(connection) => self.hand_over(connection),
                    Opened::Shared(connection) => self.welcome(connection),
                }
                // Only now: until somebody has got the connection, nobody else dials for the one who waits for it.
                self.state.lock().dialing -= 1;
            }
            Err(error) => {
                let now = self.clock.since_start(self.clock.now()).as_millis();
                self.dial_failed_at.store(u64::try_from(now).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
                let mut state = self.state.lock();
                state.dialing -= 1;
                state.open -= 1;
                while let Some(waiting) = state.waiting.pop_front() {
                    // Where one connection is opened for all, its failure is everybody's.
                    if waiting.send(Err(error)).is_ok() && self.dialect.is_http_1() {
                        break;
                    }
                }
            }
        }
        self.serve_waiting();
    }

    /// A new connection.
    pub(in crate::upstream) async fn open(&self, limit: Duration) -> Result<Opened, Error> {
        let limits = self.limits.load_full();
        let line = self.dialer.dial(limit, limits.tls.as_ref()).await?;
        let born = scattered(self.clock.now(), limits.max_age);
        self.dialect.learn(line.is_http_2);
        if line.is_http_2 {
            let is_secure = self.server.scheme() == Scheme::Https;
            let agreed = Multiplexed::over(line, is_secure, born, self.clock);
            let agreed = tokio::time::timeout(limit, agreed).await;
            return agreed.map_err(|_| Error::ConnectTimeout)?.map(Opened::Shared);
        }
        let mut connection = Connection::over(line, self.clock).await?;
        connection.born = born;
        Ok(Opened::Own(connection))
    }
}
