//! Watching the configuration file and the certificates that it names: they are read every two seconds and compared.
//!
//! Polling works where notifications do not: network file systems, bind mounts, editors and orchestrators that replace
//! the file or a link on the way to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::reload::Reloader;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);

impl Reloader {
    /// Reloads when the file has changed, while `watch` is on; for as long as it is polled.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut seen = self.fingerprint();
        loop {
            tokio::time::sleep(EVERY).await;
            if !self.is_watching() {
                continue;
            }
            let now = self.fingerprint();
            if now != seen {
                seen = now;
                let _ = Arc::clone(&self).reload_on(&Handle::current()).await;
            }
        }
    }
}
