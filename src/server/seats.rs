//! How many connections each address has open, so that no single one takes all the places.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// The connections of each address; of IPv6 each /64, which is what one subscriber has.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<HashMap<IpAddr, usize>>);

/// One connection's, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    network: IpAddr,
}

impl Seats {
    /// A seat for one more connection from `address`; none where it has `most` already.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Seat> {
        let network = network(address);
        let mut taken = self.0.lock();
        let count = taken.get(&network).copied().unwrap_or_default();
        if count >= most {
            return None;
        }
        taken.insert(network, count + 1);
        drop(taken);
        Some(Seat { seats: Arc::clone(self), network })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock();
        if let Some(count) = taken.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.network);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(v6.to_bits() & u128::MAX << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_seats_and_gets_them_back() {
        let seats = Arc::new(Seats::default());
        let first = seats.take(address("192.0.2.1"), 2).unwrap();
        let second = seats.take(address("::ffff:192.0.2.1"), 2).unwrap();
        assert!(seats.take(address("192.0.2.1"), 2).is_none());
        let other = seats.take(address("192.0.2.2"), 2);
        assert!(other.is_some(), "another address has its own");
        drop(first);
        let third = seats.take(address("192.0.2.1"), 2);
        assert!(third.is_some());
        drop((second, third, other));
        assert!(seats.0.lock().is_empty());
    }

    #[test]
    fn who_gets_no_seat_leaves_nothing_behind() {
        let seats = Arc::new(Seats::default());
        assert!(seats.take(address("192.0.2.1"), 0).is_none());
        assert!(seats.0.lock().is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let seats = Arc::new(Seats::default());
        let _one = seats.take(address("2001:db8::1"), 1).unwrap();
        assert!(seats.take(address("2001:db8::ffff:0:0:2"), 1).is_none());
        assert!(seats.take(address("2001:db8:0:1::1"), 1).is_some());
    }
}
