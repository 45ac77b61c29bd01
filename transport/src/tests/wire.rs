//! A network in memory: packets take a while, may be lost and may be too large, all in tokio's (paused) time.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, TokioRuntime, UdpPoller};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Socket;
use crate::sync::lock;

/// How a network treats packets.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) latency: Duration,
    /// The largest packet, in bytes of UDP payload.
    pub(crate) packet_bytes_max: usize,
    /// One packet in so many is lost; 0 for none.
    pub(crate) lost_one_in: u64,
}

/// A network in memory.
pub(crate) struct Wire(Arc<Mutex<State>>);

struct State {
    weather: Weather,
    start: Instant,
    ports: BTreeMap<SocketAddr, Port>,
    sent: u64,
    trace: Vec<Packet>,
}

/// A packet that was sent: when, from where, to where, and how large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet(Duration, SocketAddr, SocketAddr, usize);

#[derive(Default)]
struct Port {
    /// What is on its way here, by when it arrives and in which order it was sent.
    coming: BTreeMap<(Instant, u64), (SocketAddr, Vec<u8>)>,
    reader: Option<Waker>,
}

impl Wire {
    pub(crate) fn new(weather: Weather) -> Self {
        Wire(Arc::new(Mutex::new(State {
            weather,
            start: Instant::now(),
            ports: BTreeMap::new(),
            sent: 0,
            trace: Vec::new(),
        })))
    }

    /// A socket with this address.
    pub(crate) fn socket(&self, addr: SocketAddr) -> Socket {
        lock(&self.0).ports.insert(addr, Port::default());
        Socket::Abstract {
            socket: Arc::new(WireSocket {
                addr,
                state: self.0.clone(),
                arrival: Mutex::new(Box::pin(sleep_until(Instant::now()))),
            }),
            runtime: Arc::new(TokioRuntime),
        }
    }

    /// Loses every packet from here on.
    pub(crate) fn cut(&self) {
        lock(&self.0).weather.packet_bytes_max = 0;
    }

    /// Every packet that was sent.
    pub(crate) fn trace(&self) -> Vec<Packet> {
        lock(&self.0).trace.clone()
    }
}

impl State {
    fn send(&mut self, from: SocketAddr, to: SocketAddr, contents: &[u8]) {
        let now = Instant::now();
        self.sent += 1;
        self.trace
            .push(Packet(now - self.start, from, to, contents.len()));
        let weather = self.weather;
        let unlucky = weather.lost_one_in > 0 && self.sent.is_multiple_of(weather.lost_one_in);
        if unlucky || contents.len() > weather.packet_bytes_max {
            return;
        }
        if let Some(port) = self.ports.get_mut(&to) {
            let due = (now + weather.latency, self.sent);
            port.coming.insert(due, (from, contents.to_vec()));
            if let Some(reader) = port.reader.take() {
                reader.wake();
            }
        }
    }
}

struct WireSocket {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
    arrival: Mutex<Pin<Box<Sleep>>>,
}

impl AsyncUdpSocket for WireSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let size = transmit.segment_size.unwrap_or(transmit.contents.len());
        let mut state = lock(&self.state);
        for packet in transmit.contents.chunks(size) {
            state.send(self.addr, transmit.destination, packet);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let port = state.ports.entry(self.addr).or_default();
        let mut count = 0;
        while let Some(first) = port.coming.first_entry()
            && first.key().0 <= now
            && count < bufs.len()
        {
            let (from, contents) = first.remove();
            bufs[count][..contents.len()].copy_from_slice(&contents);
            meta[count] = RecvMeta {
                addr: from,
                len: contents.len(),
                stride: contents.len(),
                ..RecvMeta::default()
            };
            count += 1;
        }
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        port.reader = Some(cx.waker().clone());
        if let Some(((due, _), _)) = port.coming.first_key_value() {
            let mut arrival = lock(&self.arrival);
            arrival.as_mut().reset(*due);
            if arrival.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl fmt::Debug for WireSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireSocket({})", self.addr)
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
