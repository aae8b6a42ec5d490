//! Ports for servers in processes of their own, which are stopped and started again at the same port.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel hands out (`net.ipv4.ip_local_port_range`), so that no client's own port and no
/// listener at port 0 is in the way while the server is stopped.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// A port of the loopback address that nobody listens at, and that is given to no other test.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs of the tests at once begin apart.
    let begin = std::process::id().wrapping_mul(97);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = (0..COUNT).map(|_| {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        FIRST + u16::try_from(begin.wrapping_add(next) % u32::from(COUNT)).unwrap()
    });
    ports.find(is_free).expect("a free port")
}
