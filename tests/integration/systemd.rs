//! Under a service manager: what it is told, and the sockets that it hands over.

use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;

use crate::harness::{Origin, Proxy, Scratch, request, wait_until};

/// What the service manager heard.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn hears(&mut self, wanted: &str) -> bool {
        let mut space = [0; 1024];
        while let Ok(length) = self.socket.recv(&mut space) {
            self.heard.push(String::from_utf8_lossy(&space[..length]).into_owned());
        }
        self.heard.iter().any(|message| message.lines().any(|line| line.starts_with(wanted)))
    }
}

#[tokio::test]
async fn the_service_manager_hears_of_start_reload_and_end() {
    let origin = Origin::start();
    let files = Scratch::new();
    let path = files.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut manager = Manager { socket, heard: Vec::new() };
    let mut proxy = Proxy::as_service(&origin, "", ("NOTIFY_SOCKET", path.as_os_str()), None).await;
    let mut expect = async |wanted: &str| {
        wait_until(wanted, || std::future::ready(manager.hears(wanted))).await;
        std::mem::take(&mut manager.heard)
    };
    expect("READY=1").await;
    proxy.signal("HUP");
    let reload = expect("READY=1").await;
    assert!(
        reload.iter().any(|message| message.contains("RELOADING=1") && message.contains("MONOTONIC_USEC="))
    );
    proxy.signal("TERM");
    expect("STOPPING=1").await;
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_socket_that_is_handed_over_is_served_in_place_of_the_configured_ones() {
    let origin = Origin::start();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // The configured address is in use: it would be refused if it were bound.
    let config = format!("listener.address = '{}'", elsewhere.local_addr().unwrap());
    let nothing = ("FOREBAY_NOTHING", OsStr::new(""));
    let proxy = Proxy::as_service(&origin, &config, nothing, Some(socket.into())).await;
    assert_eq!(proxy.address, address);
    assert_eq!(request("GET /").send(address).await.status(), 200);
}
