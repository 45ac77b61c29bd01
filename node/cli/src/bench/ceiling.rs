//! A benchmark's ends as bare QUIC connections: what any mesh over QUIC can reach at most on this machine.
//!
//! The connections have the settings of Rolecast's transport and the same cipher, and nothing of Rolecast above them: frames with a length in front, put together into large writes, and taken apart where they arrive.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, RecvStream, SendStream,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, cipher_suite::TLS13_AES_128_GCM_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, version};

use crate::bench::ends::{Caller, Replier, Sink, Source};
use crate::bench::part::Desk;
use crate::bench::payload::Stray;
use crate::bench::plan::Scenario;
use crate::bench::words::{Access, Job, Part, Word};
use crate::bench::{publish, roundtrip, subscribe};
use crate::failure::Failure;

/// A certificate that the processes of one benchmark share.
pub(crate) fn access() -> Result<Access, Failure> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(failed)?;
    Ok(Access::Certificate {
        certificate: made.cert.der().to_vec(),
        key: made.signing_key.serialize_der(),
    })
}

/// Takes part over bare connections.
pub(crate) async fn run(job: &Job, desk: &mut Desk) -> Result<(), Failure> {
    let endpoint = endpoint(&job.access, job.plan.addr_of(job.part))?;
    match job.part {
        Part::Publisher => {
            let connections = connect(&endpoint, &job.peers).await?;
            publisher(&connections, job, desk).await
        }
        Part::Subscriber => {
            desk.say(&Word::Listening(endpoint.local_addr().map_err(failed)?))?;
            let connection = accept(&endpoint).await?;
            subscriber(&connection, job, desk).await
        }
        Part::Peer | Part::Joiner => Err(Failure::failed("only nodes form a mesh")),
    }
}

async fn connect(endpoint: &Endpoint, peers: &[SocketAddr]) -> Result<Vec<Connection>, Failure> {
    let mut connections = Vec::new();
    for &peer in peers {
        let connecting = endpoint.connect(peer, NAME).map_err(failed)?;
        connections.push(connecting.await.map_err(failed)?);
    }
    Ok(connections)
}

async fn accept(endpoint: &Endpoint) -> Result<Connection, Failure> {
    let incoming = endpoint.accept().await;
    let incoming = incoming.ok_or_else(|| Failure::failed("the endpoint was closed"))?;
    incoming.await.map_err(failed)
}

/// Does not return before an error: the streams have to stay open until the coordinator ends all processes.
async fn publisher(connections: &[Connection], job: &Job, desk: &mut Desk) -> Result<(), Failure> {
    if let Scenario::Reqrep { inflight, .. } = job.plan.scenario {
        let mut callers = Vec::new();
        for _ in 0..inflight {
            let (send, recv) = connections[0].open_bi().await.map_err(failed)?;
            callers.push(Stream::new(send, recv));
        }
        roundtrip::ask(&mut callers, &job.plan, desk).await?;
        return std::future::pending().await;
    }
    let mut streams = Vec::new();
    for connection in connections {
        streams.push(connection.open_uni().await.map_err(failed)?);
    }
    let gathered = BytesMut::with_capacity(WRITE_BYTES);
    let mut sink = QuicSink { streams, gathered };
    publish::run(&mut sink, &job.plan, desk).await?;
    std::future::pending().await
}

async fn subscriber(connection: &Connection, job: &Job, desk: &mut Desk) -> Result<(), Failure> {
    if let Scenario::Reqrep { inflight, .. } = job.plan.scenario {
        let replier = QuicReplier {
            connection: connection.clone(),
            streams: inflight,
        };
        return roundtrip::answer(replier, desk).await;
    }
    let stream = connection.accept_uni().await.map_err(failed)?;
    subscribe::run(&mut QuicSource::new(stream), &job.plan, desk).await?;
    std::future::pending().await
}

/// Puts frames together and writes the same bytes to every subscriber.
struct QuicSink {
    streams: Vec<SendStream>,
    gathered: BytesMut,
}

impl Sink for QuicSink {
    #[inline]
    async fn send(&mut self, payload: Bytes) -> Result<(), Failure> {
        let frame_bytes = PREFIX + payload.len();
        if self.gathered.len() + frame_bytes > self.gathered.capacity() {
            self.flush().await?;
            self.gathered.reserve(WRITE_BYTES.max(frame_bytes));
        }
        self.gathered.put_u32_le(payload.len() as u32);
        self.gathered.put_slice(&payload);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        let written = self.gathered.split().freeze();
        for stream in &mut self.streams {
            stream.write_chunk(written.clone()).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Takes frames apart that arrive in chunks.
struct QuicSource {
    stream: RecvStream,
    chunks: Vec<Bytes>,
    frames: Deframer,
}

impl QuicSource {
    fn new(stream: RecvStream) -> Self {
        QuicSource {
            stream,
            chunks: vec![Bytes::new(); CHUNKS],
            frames: Deframer::default(),
        }
    }
}

impl Source for QuicSource {
    #[inline]
    async fn take(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), Stray>,
    ) -> Result<(), Failure> {
        let read = self.stream.read_chunks(&mut self.chunks).await;
        let count = read
            .map_err(failed)?
            .ok_or_else(|| Failure::failed("the publisher ended its stream"))?;
        for chunk in &mut self.chunks[..count] {
            let chunk = std::mem::take(chunk);
            self.frames.push(&chunk, &mut each).map_err(failed)?;
        }
        Ok(())
    }
}

/// Cuts a stream into frames; those that lie within one chunk are not copied.
#[derive(Default)]
struct Deframer {
    /// The beginning of a frame that is not complete.
    partial: BytesMut,
}

impl Deframer {
    #[inline]
    fn push(
        &mut self,
        mut chunk: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), Stray>,
    ) -> Result<(), Stray> {
        while !self.partial.is_empty() && !chunk.is_empty() {
            let wanted = match self.partial.first_chunk() {
                Some(length) => PREFIX + u32::from_le_bytes(*length) as usize,
                None => PREFIX,
            };
            let missing = (wanted - self.partial.len()).min(chunk.len());
            self.partial.put_slice(&chunk[..missing]);
            chunk.advance(missing);
            if let Some(frame) = whole_frame(&self.partial) {
                each(frame)?;
                self.partial.clear();
            }
        }
        while let Some(frame) = whole_frame(chunk) {
            each(frame)?;
            chunk.advance(PREFIX + frame.len());
        }
        self.partial.put_slice(chunk);
        Ok(())
    }
}

/// The frame at the front, if all of it is there.
#[inline]
fn whole_frame(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<PREFIX>()?;
    rest.get(..u32::from_le_bytes(*length) as usize)
}

/// One stream of requests and replies, one on the way at a time.
struct Stream {
    send: SendStream,
    recv: RecvStream,
    buffer: BytesMut,
}

impl Stream {
    fn new(send: SendStream, recv: RecvStream) -> Self {
        Stream {
            send,
            recv,
            buffer: BytesMut::new(),
        }
    }

    async fn write(&mut self, payload: &[u8]) -> Result<(), Failure> {
        self.buffer.put_u32_le(payload.len() as u32);
        self.buffer.put_slice(payload);
        let frame = self.buffer.split().freeze();
        self.send.write_chunk(frame).await.map_err(failed)
    }

    /// The next frame; a `Bytes` of its own if it came in one chunk, as small ones do.
    async fn read(&mut self) -> Result<Bytes, Failure> {
        let mut frame = BytesMut::new();
        loop {
            let chunk = self
                .recv
                .read_chunk(usize::MAX, true)
                .await
                .map_err(failed)?;
            let mut bytes = chunk
                .ok_or_else(|| Failure::failed("the other end closed the stream"))?
                .bytes;
            if frame.is_empty() && whole_frame(&bytes).is_some() {
                bytes.advance(PREFIX);
                return Ok(bytes);
            }
            frame.put(bytes);
            if whole_frame(&frame).is_some() {
                frame.advance(PREFIX);
                return Ok(frame.freeze());
            }
        }
    }
}

impl Caller for Stream {
    async fn call(&mut self, payload: Bytes) -> Result<(), Failure> {
        self.write(&payload).await?;
        match self.read().await? == payload {
            true => Ok(()),
            false => Err(Failure::failed("a reply came to another request")),
        }
    }
}

struct QuicReplier {
    connection: Connection,
    /// How many streams the caller uses.
    streams: usize,
}

impl Replier for QuicReplier {
    async fn serve(self) -> Result<(), Failure> {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..self.streams {
            let (send, recv) = self.connection.accept_bi().await.map_err(failed)?;
            let mut stream = Stream::new(send, recv);
            tasks.spawn(async move {
                loop {
                    let request = stream.read().await?;
                    stream.write(&request).await?;
                }
            });
        }
        match tasks.join_next().await {
            Some(Ok(ended)) => ended,
            _ => Err(Failure::failed("the connection was closed")),
        }
    }
}

/// An endpoint that can be dialled and dials.
fn endpoint(access: &Access, addr: IpAddr) -> Result<Endpoint, Failure> {
    let Access::Certificate { certificate, key } = access else {
        return Err(Failure::failed("a bare connection needs a certificate"));
    };
    let certificate = CertificateDer::from(certificate.clone());
    let key = PrivateKeyDer::try_from(key.clone()).map_err(failed)?;
    let transport = Arc::new(transport(addr));
    let mut server = ServerConfig::with_crypto(Arc::new(server_crypto(certificate.clone(), key)?));
    server.transport_config(transport.clone());
    let mut client = ClientConfig::new(Arc::new(client_crypto(certificate)?));
    client.transport_config(transport);

    let socket = UdpSocket::bind(SocketAddr::new(addr, 0)).map_err(failed)?;
    let state = quinn::udp::UdpSocketState::new((&socket).into()).map_err(failed)?;
    state
        .set_recv_buffer_size((&socket).into(), SOCKET_BUFFER)
        .and_then(|()| state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER))
        .map_err(failed)?;
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(PACKET_BYTES).map_err(failed)?;
    let mut endpoint =
        Endpoint::new(config, Some(server), socket, Arc::new(TokioRuntime)).map_err(failed)?;
    endpoint.set_default_client_config(client);
    Ok(endpoint)
}

fn server_crypto(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<QuicServerConfig, Failure> {
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(failed)?;
    QuicServerConfig::try_from(config).map_err(failed)
}

fn client_crypto(certificate: CertificateDer<'static>) -> Result<QuicClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(failed)?;
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(failed)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    QuicClientConfig::try_from(config).map_err(failed)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![TLS13_AES_128_GCM_SHA256],
        ..ring::default_provider()
    })
}

/// The settings of Rolecast's transport for a peer like this end.
fn transport(addr: IpAddr) -> TransportConfig {
    let initial_mtu = match addr.is_loopback() {
        true => PACKET_BYTES,
        false => PACKET_BYTES_SAFE,
    };
    let mut mtu_discovery = MtuDiscoveryConfig::default();
    mtu_discovery.upper_bound(PACKET_BYTES);
    let mut config = TransportConfig::default();
    config
        .initial_mtu(initial_mtu)
        .mtu_discovery_config(Some(mtu_discovery))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .max_idle_timeout(Some(IDLE.try_into().expect("ten seconds are in range")))
        .keep_alive_interval(Some(KEEP_ALIVE));
    config
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("the bare connection failed: {error}"))
}

const NAME: &str = "ceiling";
/// The length in front of every frame.
const PREFIX: usize = 4;
/// How much is written at once.
const WRITE_BYTES: usize = 64 << 10;
/// How many chunks are read at once.
const CHUNKS: usize = 32;
/// These are the transport's own.
const PACKET_BYTES: u16 = 6500;
const PACKET_BYTES_SAFE: u16 = 1200;
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW + (1 << 20);
const SOCKET_BUFFER: usize = 4 << 20;
const IDLE: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// As many requests as may be on the way at once.
const STREAMS: u32 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_however_the_stream_is_cut() {
        let mut stream = Vec::new();
        let lengths = [0usize, 1, 5, 300, 0, 64];
        for length in lengths {
            stream.put_u32_le(length as u32);
            stream.put_bytes(7, length);
        }
        for cut in 1..stream.len() {
            let mut deframer = Deframer::default();
            let mut out = Vec::new();
            for chunk in stream.chunks(cut) {
                deframer
                    .push(chunk, &mut |frame| {
                        out.push(frame.len());
                        Ok(())
                    })
                    .expect("every frame is welcome");
            }
            assert_eq!(out, lengths, "cut into pieces of {cut}");
        }
    }
}
