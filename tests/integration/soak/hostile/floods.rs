//! What attackers do over HTTP/2: frames that cost more than they are worth, or make no sense.

use std::io;
use std::sync::atomic::Ordering;

use super::World;
use crate::harness::frames::*;
use crate::soak::Dice;

const VICES: [&str; 9] = [
    "rapid reset",
    "rapid reset",
    "PING",
    "SETTINGS",
    "empty DATA",
    "CONTINUATION",
    "HPACK",
    "no window",
    "noise",
];

/// One of them, until forebay ends the connection.
pub(super) async fn flood(dice: &mut Dice, world: &World) -> io::Result<()> {
    let vice = dice.of(&VICES);
    let settings: &[_] = if vice == "no window" { &[NO_WINDOW] } else { &[] };
    let mut client = Frames::open(world.proxy, settings).await;
    let is_upload = matches!(vice, "empty DATA" | "noise");
    world.broken_uploads.fetch_add(u64::from(is_upload), Ordering::Relaxed);
    client.send(pieces(vice, dice)).await;
    client.ended().await;
    Ok(())
}

fn pieces(vice: &str, dice: &mut Dice) -> Vec<u8> {
    match vice {
        "rapid reset" => rapid_reset(400),
        "PING" => frame(PING, 0, 0, b"12345678").repeat(2_000),
        "SETTINGS" => frame(SETTINGS, 0, 0, &setting(4, 70_000)).repeat(300),
        "empty DATA" => {
            let upload = headers(0, 1, &asking("POST", "/off/plain/7"));
            [upload, frame(DATA, 0, 1, &[]).repeat(2_000)].concat()
        }
        "CONTINUATION" => {
            let first = frame(HEADERS, END_STREAM, 1, &block(&asking("GET", "/smuggled")));
            [first, frame(CONTINUATION, 0, 1, &block(&[("x-more", "and more")])).repeat(2_000)].concat()
        }
        "HPACK" => {
            let noise: Vec<_> = (0..200).map(|_| random_byte(dice)).collect();
            let block = [block(&asking("GET", "/off/plain/8")), noise].concat();
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)
        }
        "no window" => (0..20).flat_map(|number| get(2 * number + 1, "/off/large/2")).collect(),
        _ => {
            let mut frames = rapid_reset(50);
            let count = frames.len() / 10;
            for _ in 0..count {
                let at = dice.below(frames.len());
                frames[at] = random_byte(dice);
            }
            frames
        }
    }
}

/// Requests that are called off as soon as they are made (CVE-2023-44487).
fn rapid_reset(times: u32) -> Vec<u8> {
    let call_off = |number: u32| [get(2 * number + 1, "/off/plain/9"), reset(2 * number + 1)].concat();
    (0..times).flat_map(call_off).collect()
}

fn random_byte(dice: &mut Dice) -> u8 {
    u8::try_from(dice.below(256)).unwrap()
}
