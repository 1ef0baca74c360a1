//! Says who holds an address that cannot be bound, where the system lets us see it.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use procfs::process::FDTarget;

/// One line: the address, the key that names it, and the holder.
pub(super) fn explain(error: &Error, address: SocketAddr, key: &str) -> anyhow::Error {
    if error.kind() != ErrorKind::AddrInUse {
        return anyhow::anyhow!("cannot listen on {address} ({key}): {error}");
    }
    let own = i32::try_from(std::process::id()).ok();
    let holder = match holder(address) {
        Some((pid, _)) if Some(pid) == own => {
            return anyhow::anyhow!(
                "{address} ({key}) is taken by another address of this configuration; give it another port"
            );
        }
        Some((pid, name)) => format!("process {pid} ({name})"),
        None => "another process".to_owned(),
    };
    anyhow::anyhow!("{address} ({key}) is in use by {holder}; stop that, or choose another address")
}

/// The process that listens on the port, if it is one of ours to see.
fn holder(address: SocketAddr) -> Option<(i32, String)> {
    let entries = procfs::net::tcp().into_iter().flatten().chain(procfs::net::tcp6().into_iter().flatten());
    let mut listening = entries.filter(|entry| entry.state == procfs::net::TcpState::Listen);
    let inode = listening.find(|entry| entry.local_address.port() == address.port())?.inode;
    procfs::process::all_processes().ok()?.flatten().find_map(|process| {
        let mut fds = process.fd().ok()?.flatten();
        let holds = fds.any(|fd| matches!(fd.target, FDTarget::Socket(socket) if socket == inode));
        holds.then(|| (process.pid(), process.stat().map(|stat| stat.comm).unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_an_address_is_found_and_not_told_to_stop_itself() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        assert_eq!(holder(address).map(|(pid, _)| pid), i32::try_from(std::process::id()).ok());
        let line = explain(&ErrorKind::AddrInUse.into(), address, "admin.address").to_string();
        assert!(line.contains("another address of this configuration") && !line.contains("stop"), "{line}");
        assert!(!line.contains('\n'));
    }
}
