//! One connection of the origin: reads requests and plays scripts, faults included.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Shared;
use super::ledger::{AtWork, Body, Seen};
use crate::harness::script::{Ending, Framed, Instead, Piece, Script};
use crate::harness::websocket::ACCEPT;
use crate::harness::wire::{Framing, Part, Wire};

/// Whether the connection takes another request.
enum After {
    KeepOpen,
    Close,
}

pub(crate) async fn serve(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    let mut wire = Wire::new(stream);
    let mut responses = 0;
    while let Ok(Some(head)) = wire.head().await {
        let most = shared.responses_per_connection.load(Ordering::Relaxed);
        if most > 0 && responses >= most {
            return;
        }
        let seen = Seen::new(head, number);
        match exchange(&mut wire, seen, &shared).await {
            Ok(After::KeepOpen) => responses += 1,
            Ok(After::Close) | Err(_) => return,
        }
    }
}

async fn exchange(wire: &mut Wire, mut seen: Seen, shared: &Shared) -> io::Result<After> {
    let at_work = shared.ledger.begin(&mut seen);
    let script = shared.script(&seen);
    if script.reads_body {
        read_body(wire, &mut seen, &at_work).await?;
    }
    for piece in &script.before {
        tokio::select! {
            () = pass(piece) => {}
            () = wire.closed() => {
                seen.abandoned = true;
                at_work.update(&seen);
                return Ok(After::Close);
            }
        }
    }
    for head in &script.informational {
        wire.send(head).await?;
    }
    let answered = match &script.instead {
        Some(Instead::Echo) => send(wire, &script.clone().body(seen.picture()), &seen).await,
        Some(Instead::Raw) => send_body(wire, &script).await,
        Some(Instead::Upgrade) => tunnel(wire, &script).await,
        Some(Instead::Nothing) => Ok(After::Close),
        None => send(wire, &script, &seen).await,
    };
    if answered.is_err() {
        seen.abandoned = true;
        at_work.update(&seen);
    }
    let unread = seen.body == Body::Unread && seen.head.request_framing() != Framing::Length(0);
    if unread { Ok(After::Close) } else { answered }
}

async fn read_body(wire: &mut Wire, seen: &mut Seen, at_work: &AtWork<'_>) -> io::Result<()> {
    if seen.field("expect").is_some() {
        wire.send("HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let mut framing = seen.head.request_framing();
    let outcome = loop {
        match wire.part(&mut framing).await {
            Ok(Part::Data(data)) => seen.add_body(&data),
            Ok(Part::End(trailers)) => {
                seen.trailers = trailers;
                seen.body = Body::Whole;
                break Ok(());
            }
            Err(error) => {
                seen.body = Body::Broken;
                break Err(error);
            }
        }
    };
    at_work.update(seen);
    outcome
}

async fn send(wire: &mut Wire, script: &Script, seen: &Seen) -> io::Result<After> {
    wire.send(head(script)).await?;
    if seen.method == "HEAD" || script.status == 204 || script.status == 304 {
        return Ok(after(script));
    }
    send_body(wire, script).await
}

async fn send_body(wire: &mut Wire, script: &Script) -> io::Result<After> {
    for piece in &script.body {
        match piece {
            Piece::Data(data) => send_data(wire, script.framed, data).await?,
            Piece::Repeat(data, times) => {
                for _ in 0..*times {
                    send_data(wire, script.framed, data).await?;
                }
            }
            Piece::Pause(_) | Piece::Wait(_) => tokio::select! {
                () = pass(piece) => {}
                () = wire.closed() => return Err(io::ErrorKind::BrokenPipe.into()),
            },
        }
    }
    end(wire, script).await
}

async fn end(wire: &mut Wire, script: &Script) -> io::Result<After> {
    match script.ending {
        Ending::Whole if script.framed == Framed::Chunked => {
            let mut last = String::from("0\r\n");
            script.trailers.iter().for_each(|(name, value)| last.push_str(&format!("{name}: {value}\r\n")));
            wire.send(last + "\r\n").await?;
            Ok(after(script))
        }
        Ending::Whole => Ok(after(script)),
        Ending::Cut => Ok(After::Close),
        Ending::Reset => {
            wire.io.set_zero_linger()?;
            Ok(After::Close)
        }
        Ending::BadChunk => wire.send("zz\r\nnot a chunk\r\n").await.map(|()| After::Close),
        Ending::Hang => {
            wire.closed().await;
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
}

fn head(script: &Script) -> String {
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", script.status);
    let mut add = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
    script.fields.iter().for_each(|(name, value)| add(name, value));
    match script.framed {
        Framed::Length if script.status == 204 || script.status == 304 => {}
        Framed::Length => add("content-length", &script.announced_length().to_string()),
        Framed::Chunked => add("transfer-encoding", "chunked"),
        Framed::UntilClose => {}
    }
    if script.closes {
        add("connection", "close");
    }
    head + "\r\n"
}

fn after(script: &Script) -> After {
    if script.closes || script.framed == Framed::UntilClose { After::Close } else { After::KeepOpen }
}

async fn send_data(wire: &mut Wire, framed: Framed, data: &[u8]) -> io::Result<()> {
    if framed != Framed::Chunked {
        return wire.send(data).await;
    }
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    wire.send(chunk).await
}

async fn pass(piece: &Piece) {
    match piece {
        Piece::Pause(pause) => tokio::time::sleep(*pause).await,
        Piece::Wait(gate) => gate.passed().await,
        Piece::Data(_) | Piece::Repeat(..) => {}
    }
}

async fn tunnel(wire: &mut Wire, script: &Script) -> io::Result<After> {
    let mut head =
        String::from("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n");
    script.fields.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    wire.send(format!("{head}sec-websocket-accept: {ACCEPT}\r\n\r\n")).await?;
    while let Some(data) = wire.some(u64::MAX).await? {
        wire.send(data).await?;
    }
    wire.io.shutdown().await?;
    Ok(After::Close)
}
