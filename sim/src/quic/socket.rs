//! One socket on the simulated network, as QUIC sees it.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::network::Network;

/// A socket on the simulated network.
#[derive(Debug)]
pub(crate) struct Socket {
    addr: SocketAddr,
    network: Network,
}

impl Socket {
    /// Opens a socket with this address.
    pub(crate) fn open(network: &Network, addr: SocketAddr) -> Self {
        network.open(addr);
        Socket {
            addr,
            network: network.clone(),
        }
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        self.network.send(
            self.addr,
            transmit.destination,
            transmit.ecn,
            transmit.contents,
            segment,
        );
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut count = 0;
        let mut slots = bufs.iter_mut().zip(meta);
        let received = self.network.poll_receive(cx, self.addr, |datagram| {
            let Some((buf, meta)) = slots.next() else {
                return false;
            };
            // A datagram that is longer than the buffer is cut, as by any socket.
            let len = datagram.bytes.len().min(buf.len());
            buf[..len].copy_from_slice(&datagram.bytes[..len]);
            *meta = RecvMeta {
                addr: datagram.from,
                len,
                stride: len,
                ecn: datagram.ecn,
                dst_ip: None,
            };
            count += 1;
            true
        });
        received.map(|()| Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn max_transmit_segments(&self) -> usize {
        SEGMENTS_MAX
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// So many datagrams go out at once, as with segmentation offload on Linux.
const SEGMENTS_MAX: usize = 10;
