//! How fast frames go, over this transport and over bare QUIC with the same settings, in one process on loopback.
//!
//! ```sh
//! cargo run --release -p rolecast-transport --example throughput -- [receivers] [frame bytes] [seconds] [transport or bare]
//! ```
//!
//! Prints, for each of the two, the frames and megabytes that arrived per second when one node sends the same frame to all receivers, and the time of a round trip of 64 bytes.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, RecvStream, TokioRuntime};
use rolecast_transport::{
    Class, Events, Link, MeshSecret, NodeKey, Transport, TransportConfig, TransportEvent, Trust,
};
use rustls::RootCertStore;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::PrivatePkcs8KeyDer;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| match args.get(index) {
        Some(arg) => arg.parse(),
        None => Ok(default),
    };
    let (receivers, size) = (number(0, 4)?, number(1, 64 << 10)?);
    let span = Duration::from_secs(number(2, 3)? as u64);
    let wanted = |what| args.get(3).is_none_or(|only| only == what);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    println!("{receivers} receivers, frames of {size} bytes, round trips of 64 bytes");
    // Everything runs on the runtime's workers: the thread that blocks on the runtime would cost a wake-up from another core for each event.
    if wanted("transport") {
        let before = cpu_seconds();
        let fanout = runtime.spawn(transport_fanout(receivers, size, span));
        report("transport", runtime.block_on(fanout)??, size, span, before);
        report_trips(runtime.block_on(runtime.spawn(transport_trips()))??);
    }
    if wanted("bare") {
        let before = cpu_seconds();
        let fanout = runtime.spawn(bare_fanout(receivers, size, span));
        report("bare QUIC", runtime.block_on(fanout)??, size, span, before);
        report_trips(runtime.block_on(runtime.spawn(bare_trips()))??);
    }
    Ok(())
}

fn report(what: &str, frames: usize, size: usize, span: Duration, cpu_before: f64) {
    let cpu = (cpu_seconds() - cpu_before) * 1e6 / frames as f64;
    let per_second = frames as f64 / span.as_secs_f64();
    let megabytes = per_second * size as f64 / 1e6;
    println!("  {what}: {per_second:.0} frames/s, {megabytes:.0} MB/s, {cpu:.2} µs of CPU a frame");
}

/// The CPU time of this process so far (Linux counts it in hundredths of a second).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

fn report_trips(mut trips: Vec<Duration>) {
    trips.sort_unstable();
    let at = |part: usize| trips[trips.len() * part / 100].as_secs_f64() * 1e6;
    println!("    round trip p50 {:.1} µs, p99 {:.1} µs", at(50), at(99));
}

/// How many bytes the sender keeps handed over and not yet taken on by QUIC, per link.
const AHEAD: usize = 1 << 20;
/// How many round trips are measured.
const TRIPS: usize = 20_000;
/// How often a wait is interrupted to see whether the time is over.
const TICK: Duration = Duration::from_millis(50);

fn start(secret: &MeshSecret) -> Result<(Transport, Events), Failure> {
    let trust = Trust::from_secret(secret, &NodeKey::generate());
    let config = TransportConfig::new(([127, 0, 0, 1], 0).into(), trust, 1);
    Ok(Transport::bind(config)?)
}

async fn transport_fanout(receivers: usize, size: usize, span: Duration) -> Result<usize, Failure> {
    let secret = MeshSecret::generate();
    let (sender, mut events) = start(&secret)?;
    let mut counts = Vec::new();
    for _ in 0..receivers {
        let (receiver, events) = start(&secret)?;
        sender.dial(receiver.local_addr(), None);
        counts.push(tokio::spawn(count(receiver, events, span)));
    }
    let mut links: Vec<(Link, usize)> = Vec::new();
    let done = tokio::spawn(sum(counts));
    let frame = Bytes::from(vec![7; size]);
    let mut happened = Vec::new();
    while !done.is_finished() {
        let _ = tokio::time::timeout(TICK, events.recv_many(&mut happened, 64)).await;
        for event in happened.drain(..) {
            match event {
                TransportEvent::LinkUp { link, .. } => links.push((link, 0)),
                TransportEvent::Written { id, bytes, .. } => {
                    if let Some((_, ahead)) = links.iter_mut().find(|(link, _)| link.id() == id) {
                        *ahead -= bytes;
                    }
                }
                // A receiver that has counted enough.
                _ => {}
            }
        }
        if links.len() == receivers {
            for (link, ahead) in &mut links {
                while *ahead < AHEAD {
                    link.queue_frame(Class::Data, Bytes::from_static(b"head"), frame.clone());
                    *ahead += 4 + size;
                }
            }
        }
    }
    let lost: u64 = links
        .iter()
        .map(|(link, _)| link.stats().packets_lost)
        .sum();
    println!("  ({lost} packets lost)");
    done.await?
}

async fn sum(counts: Vec<tokio::task::JoinHandle<usize>>) -> Result<usize, Failure> {
    let mut total = 0;
    for count in counts {
        total += count.await?;
    }
    Ok(total)
}

/// Counts the frames that arrive within the span from the first one on.
async fn count(transport: Transport, mut events: Events, span: Duration) -> usize {
    let mut happened = Vec::new();
    let mut frames = 0;
    let mut begun = None;
    while begun.is_none_or(|begun: Instant| begun.elapsed() < span) {
        let _ = tokio::time::timeout(TICK, events.recv_many(&mut happened, 64)).await;
        for event in happened.drain(..) {
            if let TransportEvent::Frame { bytes, .. } = event {
                begun.get_or_insert_with(Instant::now);
                frames += usize::from(std::hint::black_box(bytes).len() >= 4);
            }
        }
    }
    drop(transport);
    frames
}

async fn transport_trips() -> Result<Vec<Duration>, Failure> {
    let secret = MeshSecret::generate();
    let (asker, mut events) = start(&secret)?;
    let (answerer, mut asked) = start(&secret)?;
    asker.dial(answerer.local_addr(), None);
    let answers = tokio::spawn(async move {
        let mut happened = Vec::new();
        let mut asker = None;
        while asked.recv_many(&mut happened, 64).await {
            for event in happened.drain(..) {
                match (event, &asker) {
                    (TransportEvent::LinkUp { link, .. }, _) => asker = Some(link),
                    (TransportEvent::Frame { bytes, .. }, Some(link)) => {
                        link.queue_frame(Class::Data, Bytes::new(), bytes);
                    }
                    (TransportEvent::LinkDown { .. }, _) => return,
                    _ => {}
                }
            }
        }
    });
    let mut happened = Vec::new();
    let mut trips = Vec::with_capacity(TRIPS);
    let mut link = None;
    let mut sent = Instant::now();
    let question = Bytes::from(vec![7; 64]);
    while trips.len() < TRIPS {
        events.recv_many(&mut happened, 64).await;
        for event in happened.drain(..) {
            match event {
                TransportEvent::LinkUp { link: up, .. } => link = Some(up),
                TransportEvent::Frame { .. } => trips.push(sent.elapsed()),
                _ => continue,
            }
            sent = Instant::now();
            if let Some(link) = &link {
                link.queue_frame(Class::Data, Bytes::new(), question.clone());
            }
        }
    }
    asker.close("done").await;
    answers.await?;
    drop(answerer);
    Ok(trips)
}

/// The settings of the transport, for QUIC alone.
struct Bare {
    endpoint: EndpointConfig,
    server: quinn::ServerConfig,
    client: quinn::ClientConfig,
}

impl Bare {
    fn new() -> Result<Self, Failure> {
        let key = rcgen::KeyPair::generate()?;
        let cert = rcgen::CertificateParams::new(vec!["bare".to_owned()])?.self_signed(&key)?;
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone())?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::CryptoProvider {
            cipher_suites: vec![TLS13_AES_128_GCM_SHA256],
            ..rustls::crypto::ring::default_provider()
        });
        let client = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())?;
        let mut transport = quinn::TransportConfig::default();
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(6500);
        transport
            .initial_mtu(6500)
            .mtu_discovery_config(Some(discovery))
            .stream_receive_window((8u32 << 20).into())
            .receive_window((17u32 << 20).into())
            .send_window(17 << 20);
        let transport = Arc::new(transport);
        let mut endpoint = EndpointConfig::default();
        endpoint.max_udp_payload_size(6500)?;
        let mut server =
            quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server)?));
        server.transport_config(transport.clone());
        let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(client)?));
        client.transport_config(transport);
        Ok(Bare {
            endpoint,
            server,
            client,
        })
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        let state = quinn::udp::UdpSocketState::new((&socket).into())?;
        state.set_recv_buffer_size((&socket).into(), 4 << 20)?;
        state.set_send_buffer_size((&socket).into(), 4 << 20)?;
        let server = Some(self.server.clone());
        let runtime = Arc::new(TokioRuntime);
        Ok(Endpoint::new(
            self.endpoint.clone(),
            server,
            socket,
            runtime,
        )?)
    }

    async fn connect(&self, from: &Endpoint, to: &Endpoint) -> Result<[Connection; 2], Failure> {
        let connecting = from.connect_with(self.client.clone(), to.local_addr()?, "bare")?;
        let accepted = to.accept().await.ok_or("closed")?;
        let (connected, accepted) = tokio::join!(connecting, accepted.into_future());
        Ok([connected?, accepted?])
    }
}

async fn bare_fanout(receivers: usize, size: usize, span: Duration) -> Result<usize, Failure> {
    let bare = Bare::new()?;
    let sender = bare.endpoint()?;
    let frame = Bytes::from(vec![7; size + 8]);
    let mut counts = Vec::new();
    let mut kept = Vec::new();
    for _ in 0..receivers {
        let receiver = bare.endpoint()?;
        let [out, into] = bare.connect(&sender, &receiver).await?;
        kept.push((receiver, out.clone(), into.clone()));
        counts.push(tokio::spawn(async move {
            let stream = into.accept_uni().await.expect("the sender opens one");
            bare_count(stream, span).await / (size + 8)
        }));
        let frame = frame.clone();
        tokio::spawn(async move {
            let mut stream = out.open_uni().await.expect("one stream is allowed");
            while stream.write_chunk(frame.clone()).await.is_ok() {}
        });
    }
    sum(counts).await
}

/// Counts the bytes that arrive within the span from the first ones on.
async fn bare_count(mut stream: RecvStream, span: Duration) -> usize {
    let mut chunks = [const { Bytes::new() }; 32];
    let mut bytes = 0;
    let mut begun = None;
    while begun.is_none_or(|begun: Instant| begun.elapsed() < span) {
        let Ok(Some(count)) = stream.read_chunks(&mut chunks).await else {
            break;
        };
        begun.get_or_insert_with(Instant::now);
        bytes += chunks[..count].iter().map(Bytes::len).sum::<usize>();
    }
    bytes
}

async fn bare_trips() -> Result<Vec<Duration>, Failure> {
    let bare = Bare::new()?;
    let (asker, answerer) = (bare.endpoint()?, bare.endpoint()?);
    let [out, into] = bare.connect(&asker, &answerer).await?;
    let answers = tokio::spawn(async move {
        let mut send = into.open_uni().await.expect("one stream is allowed");
        let mut receive = into.accept_uni().await.expect("the asker opens one");
        let mut question = [0; 68];
        while receive.read_exact(&mut question).await.is_ok() {
            send.write_all(&question).await.expect("the asker reads");
        }
    });
    let mut send = out.open_uni().await?;
    let mut trips = Vec::with_capacity(TRIPS);
    send.write_all(&[7; 68]).await?;
    let mut receive = out.accept_uni().await?;
    let mut answer = [0; 68];
    receive.read_exact(&mut answer).await?;
    while trips.len() < TRIPS {
        let sent = Instant::now();
        send.write_all(&[7; 68]).await?;
        receive.read_exact(&mut answer).await?;
        trips.push(sent.elapsed());
    }
    out.close(0u32.into(), b"done");
    answers.await?;
    Ok(trips)
}
