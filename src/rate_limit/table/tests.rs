use std::time::Duration;

use super::*;
use crate::clock::Clock;

fn key(n: u128) -> PartitionKey {
    PartitionKey(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn table(rate: &str) -> (Buckets, Edition, Instant) {
    let epoch = Clock::start().now();
    let buckets = Buckets::new(epoch);
    let edition = buckets.edition(&[rate.parse().unwrap()], 0);
    (buckets, edition, epoch)
}

#[test]
fn a_flood_of_keys_resets_no_limited_client() {
    for rate in ["1/minute", "200/minute"] {
        let (buckets, edition, epoch) = table(rate);
        let charge = |n| buckets.charge(&edition, 100, key(n), epoch).is_ok();
        while charge(0) {}
        for n in 1..10_000 {
            charge(n);
        }
        assert!(!charge(0), "still limited");
        assert_eq!(buckets.keys(), 100);
        assert!(buckets.overflowed.value() > 9000);
    }
}

#[test]
fn all_that_find_no_room_share_the_allowance_of_one() {
    let (buckets, edition, epoch) = table("3/minute");
    let charge = |n, at| buckets.charge(&edition, 100, key(n), epoch + Duration::from_secs(at)).is_ok();
    for n in 0..100 {
        assert!(charge(n, 0));
    }
    assert_eq!((1000..2000).filter(|n| charge(*n, 1)).count(), 3);
    assert!((0..100).all(|n| charge(n, 1)), "who has a record keeps it");
    assert_eq!((1000..2000).filter(|n| charge(*n, 30)).count(), 0);
}

#[test]
fn expired_records_make_room_without_a_sweep() {
    let (buckets, edition, epoch) = table("1/minute");
    let charge = |n, at: u64| buckets.charge(&edition, 1000, key(n), epoch + Duration::from_secs(at)).is_ok();
    for n in 0..1000 {
        assert!(charge(n, 0));
    }
    for n in 1000..2000 {
        charge(n, 61);
    }
    // A key looks for room in its own shard only, so a few are unlucky until the next sweep.
    assert!(buckets.overflowed.value() < 150, "{}", buckets.overflowed.value());
    assert!(buckets.keys() <= 1000);
}

#[test]
fn a_sweep_gives_up_what_a_new_record_would_equal_and_no_more() {
    for rate in ["2/minute", "300/minute"] {
        let (buckets, edition, epoch) = table(rate);
        for n in 0..500 {
            let at = epoch + Duration::from_millis(u64::try_from(n).unwrap());
            assert!(buckets.charge(&edition, 1000, key(n), at).is_ok());
        }
        buckets.sweep(epoch + Duration::from_millis(100));
        let early = buckets.keys();
        buckets.sweep(epoch + Duration::from_millis(60_250));
        let late = buckets.keys();
        if rate == "2/minute" {
            assert_eq!((early, late), (500, 249));
        }
        buckets.sweep(epoch + Duration::from_secs(200));
        assert_eq!(buckets.keys(), 0);
    }
}

#[test]
fn ages_survive_the_wrap_of_their_counter() {
    // One tick is 100 ns: 32 bits are 7 minutes.
    let (buckets, edition, epoch) = table("2/minute");
    let charge = |at: u64| buckets.charge(&edition, 10, key(1), epoch + Duration::from_secs(at)).is_ok();
    for start in (0..4000).step_by(61) {
        assert!(charge(start) && charge(start + 1) && !charge(start + 59), "{start}");
    }
    assert!(charge(1_000_000) && charge(1_000_001) && !charge(1_000_002));
}

#[test]
fn a_record_fits_a_cache_line_with_its_key() {
    assert_eq!(size_of::<(Key, Record)>(), 64);
}
