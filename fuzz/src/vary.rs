//! `Vary`, and which requests are the same in the fields that it names.

use forebay::cache::{SelectingFields, Vary};
use forebay::http::coding::{Accepted, is_codable};

/// `data`: the fields of a response, an empty line, those of a request, an empty line, those of another.
pub fn run(data: &[u8]) {
    let (response, requests) = super::halves(data);
    let (one, other) = super::halves(requests);
    let (response, one, other) = (super::fields(response), super::fields(one), super::fields(other));
    let vary = Vary::of(&response);
    assert!(vary.names().len() <= 32);
    let of_one = SelectingFields::of(vary.names(), &one);
    let of_other = SelectingFields::of(vary.names(), &other);
    assert!(of_one.matches(&one) && of_other.matches(&other), "a request that is not like itself");
    assert_eq!(of_one.matches(&other), of_other.matches(&one), "{one:?} and {other:?} by {vary:?}");
    let absent = vary.names().iter().any(|name| one.contains_key(name) != other.contains_key(name));
    assert!(!absent || !of_one.matches(&other), "absent is not empty");
    let _ = is_codable(&response);
    let accepted = Accepted::of(&one);
    assert!(one.contains_key("accept-encoding") || accepted.coding.is_none(), "coded for who did not ask");
}
