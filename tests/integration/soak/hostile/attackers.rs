//! Clients that nobody wants: one bad thing after another.
//!
//! Most go away by themselves after a moment. Some stay until forebay ends it, which it has to within bounds.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{World, floods};
use crate::harness::websocket::{handshake, text_frame};
use crate::harness::wire::Head;
use crate::harness::{Connection, request, seconds};
use crate::soak::{BOUND, Dice};

/// Those that forebay ends.
const ENDED: [&str; 7] =
    ["slow head", "stalled body", "silence", "malformed", "malformed", "huge head", "frames"];
/// Those that end by themselves, besides.
const ALL: [&str; 13] = [
    "slow head",
    "stalled body",
    "silence",
    "malformed",
    "huge head",
    "frames",
    "frames",
    "slow body",
    "no reader",
    "tunnel",
    "half an answer",
    "pipeline",
    "spoof",
];

/// What servers must not read in two ways, or at all; `@` stands for a line break.
const MALFORMED: [&str; 24] = [
    "GET / HTTP/1.1@@",
    "GET / HTTP/1.1@Host: a@Host: b@@",
    "GET / HTTP/1.1@Host : a@@",
    "GET / HTTP/1.1@Host: a@X: b@ c@@",
    "GET / HTTP/1.1@Host: a@X: b\rc@@",
    "GET /off/%00 HTTP/1.1@Host: a@@",
    "GET /off/%2e%2e%5csmuggled HTTP/1.1@Host: a@@",
    "get /off/plain/1 HTTP/1.1@Host: a@@",
    "CONNECT a:443 HTTP/1.1@Host: a:443@@",
    "TRACE /off/plain/1 HTTP/1.1@Host: a@@",
    "GET /off/plain/1 HTTP/3.0@Host: a@@",
    "POST /off/plain/1 HTTP/1.1@Host: a@Content-Length: 5@Content-Length: 6@@hello!",
    "POST /off/plain/1 HTTP/1.1@Host: a@Content-Length: +5@@hello",
    "POST /off/plain/1 HTTP/1.1@Host: a@Content-Length: 99999999999999999999@@hello",
    "POST /off/plain/1 HTTP/1.1@Host: a@Content-Length: 2000000@@hello",
    "POST /off/plain/1 HTTP/1.1@Host: a@Transfer-Encoding: chunked, identity@@0@@GET /smuggled HTTP/1.1@Host: a@@",
    "POST /off/plain/1 HTTP/1.1@Host: a@Transfer-Encoding: xchunked@@0@@GET /smuggled HTTP/1.1@Host: a@@",
    "POST /off/plain/1 HTTP/1.1@Host: a@Transfer-Encoding : chunked@@0@@GET /smuggled HTTP/1.1@Host: a@@",
    "POST /off/plain/1 HTTP/1.1@Host: a@Transfer-Encoding: chunked@Content-Length: 4@@zz@@GET /smuggled HTTP/1.1@Host: a@@",
    "POST /off/plain/1 HTTP/1.1@Host: a@Transfer-Encoding: chunked@@fffffffffffffffff@",
    "POST /off/plain/1 HTTP/1.0@Host: a@Transfer-Encoding: chunked@@0@@GET /smuggled HTTP/1.1@Host: a@@",
    "\u{0}\u{0}\u{0}\u{0}",
    "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}",
    "SSH-2.0-OpenSSH_9.0@",
];

/// One attacker until the end; how many attacks it made.
pub(super) async fn attacker(number: usize, world: World) -> usize {
    let mut dice = Dice(world.seed.wrapping_mul(7_368_787).wrapping_add(number as u64));
    let mut made = 0;
    while Instant::now() < world.end {
        if dice.below(4) == 0 {
            let vice = dice.of(&ENDED);
            let ended = tokio::time::timeout(BOUND, attack(vice, &mut dice, &world)).await;
            assert!(ended.is_ok(), "{vice} goes on after {BOUND:?}");
        } else {
            let vice = dice.of(&ALL);
            let patience = seconds(0.05 + 0.001 * dice.below(1500) as f64);
            let _ = tokio::time::timeout(patience, attack(vice, &mut dice, &world)).await;
        }
        made += 1;
        tokio::time::sleep(seconds(0.001 * dice.below(100) as f64)).await;
    }
    made
}

/// Until the connection ends, or there is nothing more to do.
async fn attack(vice: &str, dice: &mut Dice, world: &World) -> io::Result<()> {
    let proxy = world.proxy;
    match vice {
        "slow head" => {
            let asked = request("GET /off/plain/1").field("X-Long", &"a".repeat(5000));
            trickle(proxy, asked.bytes(), seconds(0.05)).await
        }
        "slow body" => {
            trickle(proxy, request("POST /off/plain/1").body(vec![b'.'; 5000]).bytes(), seconds(0.01)).await
        }
        "stalled body" => stalled_body(proxy).await,
        "silence" => silence(proxy).await,
        "malformed" => {
            let text = dice.of(&MALFORMED);
            world.broken_uploads.fetch_add(u64::from(text.starts_with("POST")), Ordering::Relaxed);
            refused(proxy, text.replace('@', "\r\n").into_bytes()).await
        }
        "huge head" => huge_head(dice, proxy).await,
        "frames" => floods::flood(dice, world).await,
        "no reader" => no_reader(dice, proxy).await,
        "tunnel" => tunnel(dice, proxy).await,
        "half an answer" => half_an_answer(proxy).await,
        "pipeline" => pipeline(proxy).await,
        _ => spoof(dice, proxy).await,
    }
}

async fn begin(proxy: SocketAddr, bytes: &[u8]) -> io::Result<Connection> {
    let mut connection = Connection::open(proxy).await;
    connection.wire.send(bytes).await?;
    Ok(connection)
}

/// Reads on until the connection ends.
async fn until_the_end(connection: &mut Connection) -> io::Result<()> {
    while connection.wire.some(u64::MAX).await?.is_some() {}
    Ok(())
}

/// A byte now and then, until forebay has had enough.
async fn trickle(proxy: SocketAddr, bytes: Vec<u8>, pause: Duration) -> io::Result<()> {
    let mut connection = begin(proxy, b"").await?;
    for byte in bytes {
        connection.wire.send([byte]).await?;
        if let Ok(got) = tokio::time::timeout(pause, connection.wire.some(u64::MAX)).await
            && got?.is_none()
        {
            break;
        }
    }
    Ok(())
}

/// Half of a body, and then nothing: 408, and the end.
async fn stalled_body(proxy: SocketAddr) -> io::Result<()> {
    let mut connection =
        begin(proxy, b"POST /off/plain/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf").await?;
    // The client's fault, or there was no connection to the busy origin.
    let is_right = |status| matches!(status, 408 | 502..=504);
    assert_head(connection.wire.head().await?.as_ref(), is_right);
    until_the_end(&mut connection).await
}

/// Many connections that say nothing, or not enough.
async fn silence(proxy: SocketAddr) -> io::Result<()> {
    let mut connections = Vec::new();
    for number in 0..30 {
        connections.push(begin(proxy, &b"GET / HTTP/1.1\r\n"[..number % 17]).await?);
    }
    for mut connection in connections {
        let _ = until_the_end(&mut connection).await;
    }
    Ok(())
}

/// What must not be understood: an error, or no answer, and the end.
async fn refused(proxy: SocketAddr, bytes: Vec<u8>) -> io::Result<()> {
    let mut connection = begin(proxy, &bytes).await?;
    let head = connection.wire.head().await?;
    if head.is_some() {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned();
        assert_head(head.as_ref(), |status| {
            assert!(status >= 400, "{status} for {text:?}");
            true
        });
    }
    until_the_end(&mut connection).await
}

fn assert_head(head: Option<&Head>, is_right: impl Fn(u16) -> bool) {
    assert!(head.is_none_or(|head| is_right(head.status())), "{head:?}");
}

async fn huge_head(dice: &mut Dice, proxy: SocketAddr) -> io::Result<()> {
    let (line, size) =
        [("/off/plain/1", 70_000), ("/off/plain/1", 17_000), ("/off/plain/1?", 0)][dice.below(3)];
    let asked = match size {
        0 => request(&format!("GET {line}{}", "q".repeat(30_000))),
        size => request(&format!("GET {line}")).field("X-Huge", &"h".repeat(size)),
    };
    refused(proxy, asked.bytes()).await
}

/// Asks for much and takes none of it.
async fn no_reader(dice: &mut Dice, proxy: SocketAddr) -> io::Result<()> {
    let path = ["/off/large/1", "/standard/large/2", "/force/large/0"][dice.below(3)];
    let _connection = begin(proxy, &request(&format!("GET {path}")).bytes()).await?;
    tokio::time::sleep(BOUND).await;
    Ok(())
}

/// A WebSocket that is left without a word.
async fn tunnel(dice: &mut Dice, proxy: SocketAddr) -> io::Result<()> {
    let mut connection = begin(proxy, &handshake("/abandoned/socket/1").bytes()).await?;
    let head = connection.wire.head().await?;
    assert_head(head.as_ref(), |status| matches!(status, 101 | 429 | 502..=504));
    if head.is_some_and(|head| head.status() == 101) {
        for _ in 0..dice.below(5) {
            connection.wire.send(text_frame("hello")).await?;
        }
    }
    until_the_end(&mut connection).await
}

/// Leaves in the middle of a stream.
async fn half_an_answer(proxy: SocketAddr) -> io::Result<()> {
    let asked = request("GET /off/events/1").field("Accept", "text/event-stream");
    let mut connection = begin(proxy, &asked.bytes()).await?;
    connection.wire.some(u64::MAX).await?;
    Ok(())
}

/// A hundred requests in one piece, whose answers nobody waits for.
async fn pipeline(proxy: SocketAddr) -> io::Result<()> {
    let mut connection = begin(proxy, &request("GET /off/plain/1").bytes().repeat(100)).await?;
    connection.wire.some(u64::MAX).await?;
    Ok(())
}

/// Somebody else with each request: is limited all the same.
async fn spoof(dice: &mut Dice, proxy: SocketAddr) -> io::Result<()> {
    for _ in 0..20 {
        let address = format!("10.{}.{}.{}", dice.below(256), dice.below(256), dice.below(256));
        let name = dice.of(&["X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "X-Client-IP"]);
        let value = if name == "Forwarded" { format!("for={address}") } else { address };
        let asked = request("GET /limited/plain/1").field(name, &value);
        let answer = asked.try_send(proxy).await?;
        assert!(matches!(answer.status(), 200 | 429 | 502..=504), "{answer:?}");
    }
    Ok(())
}
