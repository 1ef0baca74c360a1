//! A participant's end of a flight, until the head is there.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::super::Cargo;
use super::super::reader::Reader;
use super::{Flight, Phase};

/// What a participant gets.
#[derive(Debug)]
pub enum Outcome<C: Cargo> {
    /// A head and a body that several may have.
    Shared(Arc<C::Head>, Reader<C>),
    /// The response itself: it is for the one who began the flight.
    Yours(C::Response),
    /// It could not be shared: fetch alone.
    Alone,
    /// There is none.
    Failed(C::Error),
}

/// A participant that waits for the head.
#[derive(Debug)]
pub struct Seat<C: Cargo> {
    flight: Arc<Flight<C>>,
    number: usize,
    /// Whether its request began the flight.
    is_first: bool,
    /// Whether a reader has taken its place over.
    has_left: bool,
}

impl<C: Cargo> Seat<C> {
    pub(super) fn new(flight: Arc<Flight<C>>, number: usize, is_first: bool) -> Self {
        Self { flight, number, is_first, has_left: false }
    }

    /// Waits until the fetch has decided what its result is and who may have it.
    pub async fn outcome(mut self) -> Outcome<C> {
        std::future::poll_fn(|cx| self.poll_outcome(cx)).await
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<C>> {
        let mut state = self.flight.state.lock();
        let outcome = match &mut state.phase {
            Phase::Fetching => {
                if let Some(place) = state.seats.get_mut(self.number) {
                    place.waker = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
            Phase::Shared(head) => {
                let head = Arc::clone(head);
                drop(state);
                self.has_left = true;
                return Poll::Ready(Outcome::Shared(
                    head,
                    Reader::new(Arc::clone(&self.flight), self.number),
                ));
            }
            Phase::Released(response) if self.is_first => {
                response.take().map_or(Outcome::Alone, Outcome::Yours)
            }
            Phase::Refused(error) if self.is_first => error.take().map_or(Outcome::Alone, Outcome::Failed),
            Phase::Released(_) | Phase::Refused(_) => Outcome::Alone,
            Phase::Failed(error) => Outcome::Failed(error.clone()),
        };
        Poll::Ready(outcome)
    }
}

impl<C: Cargo> Drop for Seat<C> {
    fn drop(&mut self) {
        if !self.has_left {
            self.flight.leave(self.number);
        }
    }
}
