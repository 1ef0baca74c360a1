//! Time: a lease ends when it ends, and a job that nobody asks about is asked for.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Jobs, Probe};
use crate::clock::Clock;

/// What wakes those who look after the tables. One pair for all of them.
#[derive(Debug, Default)]
pub struct Bells {
    agenda: Notify,
    file: Notify,
}

impl Bells {
    /// Something has changed.
    pub fn ring(&self) {
        self.agenda.notify_one();
        self.file.notify_one();
    }

    pub(super) async fn file_rung(&self) {
        self.file.notified().await;
    }
}

/// Looks after the tables for as long as it is polled; `probe` is to ask for a job and to tell its table.
pub async fn keep<P>(
    tables: impl Fn() -> Vec<Arc<Jobs<P>>>,
    bells: &Bells,
    clock: Clock,
    probe: impl Fn(&Arc<Jobs<P>>, Probe),
) {
    loop {
        let tables = tables();
        for table in &tables {
            table.tend(clock.now()).into_iter().for_each(|due| probe(table, due));
        }
        let next = tables.iter().filter_map(|table| table.next_due()).min();
        drop(tables);
        tokio::select! {
            () = at(next) => {}
            () = bells.agenda.notified() => {}
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
