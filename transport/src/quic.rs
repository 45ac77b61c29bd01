//! QUIC's settings, and what they were chosen by.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig, MtuDiscoveryConfig, ServerConfig, VarInt,
};
use ring::{hkdf, hmac};

use crate::config::TransportConfig;
use crate::entropy;
use crate::timing::{IDLE, KEEP_ALIVE};
use crate::tls;

/// Everything that a QUIC endpoint starts with.
pub(crate) struct Settings {
    pub(crate) endpoint: EndpointConfig,
    pub(crate) client: Sides<quinn::ClientConfig>,
    pub(crate) server: Sides<Arc<ServerConfig>>,
    #[cfg(feature = "qlog")]
    logged: Option<(crate::qlog::Qlog, rolecast_membership::NodeId)>,
}

/// A setting for peers on this machine, and one for all others.
pub(crate) struct Sides<T> {
    loopback: T,
    network: T,
}

impl<T> Sides<T> {
    /// What goes for a peer at this address.
    pub(crate) fn towards(&self, peer: IpAddr) -> &T {
        if peer.to_canonical().is_loopback() {
            &self.loopback
        } else {
            &self.network
        }
    }
}

impl Settings {
    /// The settings for this node; `Err` says why its certificate cannot be used.
    pub(crate) fn new(config: &TransportConfig, alpn: &[u8]) -> Result<Self, String> {
        let keys = Keys::derive(config);
        let client = Arc::new(tls::client_config(&config.trust, alpn)?);
        let server = Arc::new(tls::server_config(&config.trust, alpn)?);
        let loopback = Arc::new(transport_config(PACKET_BYTES_MAX));
        let network = Arc::new(transport_config(PACKET_BYTES_SAFE));
        let client = |transport| {
            let mut config = quinn::ClientConfig::new(client.clone());
            config.transport_config(transport);
            config
        };
        let server = |transport| {
            let mut config = ServerConfig::new(server.clone(), keys.token.clone());
            config
                .transport_config(transport)
                .max_incoming(INCOMING_MAX)
                .incoming_buffer_size(INCOMING_BYTES)
                .incoming_buffer_size_total(INCOMING_BYTES_TOTAL);
            Arc::new(config)
        };
        Ok(Settings {
            endpoint: keys.endpoint_config(config.rng_seed),
            client: Sides {
                loopback: client(loopback.clone()),
                network: client(network.clone()),
            },
            server: Sides {
                loopback: server(loopback),
                network: server(network),
            },
            #[cfg(feature = "qlog")]
            logged: config
                .qlog
                .clone()
                .map(|qlog| (qlog, config.trust.node_id())),
        })
    }

    /// How this node dials the peer at this address.
    pub(crate) fn dialling(&self, peer: SocketAddr) -> quinn::ClientConfig {
        let config = self.client.towards(peer.ip()).clone();
        #[cfg(feature = "qlog")]
        if let Some(transport) = self.logged("dials", peer) {
            let mut config = config;
            config.transport_config(Arc::new(transport));
            return config;
        }
        config
    }

    /// How this node answers the peer at this address.
    pub(crate) fn answering(&self, peer: SocketAddr) -> Arc<ServerConfig> {
        let config = self.server.towards(peer.ip()).clone();
        #[cfg(feature = "qlog")]
        if let Some(transport) = self.logged("answers", peer) {
            let mut config = (*config).clone();
            config.transport_config(Arc::new(transport));
            return Arc::new(config);
        }
        config
    }

    /// How a connection behaves that writes down what it does.
    #[cfg(feature = "qlog")]
    fn logged(&self, end: &str, peer: SocketAddr) -> Option<quinn::TransportConfig> {
        let (qlog, node) = self.logged.as_ref()?;
        let mut config = transport_config(packet_bytes_initial(peer.ip()));
        config.qlog_stream(qlog.stream(*node, end, peer));
        Some(config)
    }
}

/// How large the first packets to a peer at this address may be.
#[cfg(feature = "qlog")]
fn packet_bytes_initial(peer: IpAddr) -> u16 {
    let sizes = Sides {
        loopback: PACKET_BYTES_MAX,
        network: PACKET_BYTES_SAFE,
    };
    *sizes.towards(peer)
}

/// How a connection behaves whose first packets may have so many bytes.
fn transport_config(initial_mtu: u16) -> quinn::TransportConfig {
    let mut mtu_discovery = MtuDiscoveryConfig::default();
    mtu_discovery.upper_bound(PACKET_BYTES_MAX);
    let mut config = quinn::TransportConfig::default();
    config
        .initial_mtu(initial_mtu)
        .mtu_discovery_config(Some(mtu_discovery))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER))
        .datagram_send_buffer_size(DATAGRAM_BUFFER)
        .max_idle_timeout(Some(IDLE.try_into().expect("ten seconds are in range")))
        .keep_alive_interval(Some(KEEP_ALIVE));
    config
}

/// Keys that outlive a process because they are derived from the node's own.
///
/// A node that restarts with its key thereby answers packets of its former life with stateless resets that their senders recognise (RFC 9000, section 10.3): they notice the restart at once and not only when the connection has been idle for too long.
struct Keys {
    reset: hmac::Key,
    token: Arc<hkdf::Prk>,
}

impl Keys {
    fn derive(config: &TransportConfig) -> Self {
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"rolecast transport, version 1")
            .extract(config.trust.key().secret_der());
        Keys {
            reset: hmac::Key::new(hmac::HMAC_SHA256, &expand(&key, b"stateless reset")),
            token: Arc::new(hkdf::Prk::new_less_safe(
                hkdf::HKDF_SHA256,
                &expand(&key, b"retry tokens"),
            )),
        }
    }

    fn endpoint_config(&self, rng_seed: Option<[u8; 32]>) -> EndpointConfig {
        let mut config = EndpointConfig::new(Arc::new(self.reset.clone()));
        config
            .max_udp_payload_size(PACKET_BYTES_MAX)
            .expect("the size is in QUIC's range")
            .cid_generator(move || Box::new(ConnectionIds::new(rng_seed)))
            .rng_seed(rng_seed);
        config
    }
}

fn expand(key: &hkdf::Prk, purpose: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    key.expand(&[purpose], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out))
        .expect("32 bytes are within what HKDF gives");
    out
}

/// Connection ids of eight bytes that nobody can guess: from the operating system, or from a seed so that a simulation can be repeated.
enum ConnectionIds {
    Entropy,
    Seeded { key: hmac::Key, made: u64 },
}

impl ConnectionIds {
    fn new(seed: Option<[u8; 32]>) -> Self {
        match seed {
            None => ConnectionIds::Entropy,
            Some(seed) => ConnectionIds::Seeded {
                key: hmac::Key::new(hmac::HMAC_SHA256, &seed),
                made: 0,
            },
        }
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        match self {
            ConnectionIds::Entropy => ConnectionId::new(&entropy::bytes::<ID_BYTES>()),
            ConnectionIds::Seeded { key, made } => {
                *made += 1;
                let tag = hmac::sign(key, &made.to_le_bytes());
                ConnectionId::new(&tag.as_ref()[..ID_BYTES])
            }
        }
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Makes the socket's buffers as large as the system lets it, up to what a burst of all peers needs.
pub(crate) fn enlarge_buffers(socket: &UdpSocket) -> std::io::Result<()> {
    let state = quinn::udp::UdpSocketState::new(socket.into())?;
    state.set_recv_buffer_size(socket.into(), SOCKET_BUFFER)?;
    state.set_send_buffer_size(socket.into(), SOCKET_BUFFER)?;
    let given = state.recv_buffer_size(socket.into())?;
    if given < SOCKET_BUFFER {
        tracing::info!(
            bytes = given,
            wanted = SOCKET_BUFFER,
            "the UDP receive buffer is small, bursts may be lost and sent again; raise net.core.rmem_max and wmem_max"
        );
    }
    Ok(())
}

/// The largest packet, in bytes of UDP payload: ten of them fill what one GSO send takes (65,507 bytes), and QUIC sends at most ten at once.
///
/// Loopback carries it from the start; jumbo frames and, after discovery, whatever a network carries go up to it.
const PACKET_BYTES_MAX: u16 = 6500;
/// The largest packet that every network carries (RFC 9000, section 14).
const PACKET_BYTES_SAFE: u16 = 1200;
/// One stream a class.
const STREAMS: u32 = 3;
/// How far a peer may be ahead of the driver on one stream, in bytes.
const STREAM_WINDOW: u32 = 8 << 20;
/// Larger than all streams' but one, so that streams that are not read leave room for the others.
const CONNECTION_WINDOW: u32 = 3 * STREAM_WINDOW + (1 << 20);
/// Bytes of datagrams kept in each direction; older ones are dropped for newer ones.
const DATAGRAM_BUFFER: usize = 256 << 10;
/// What a socket should hold: the stock 208 KiB lose packets on loopback.
const SOCKET_BUFFER: usize = 4 << 20;
/// Connections whose first packet has arrived and that have not been looked at.
const INCOMING_MAX: usize = 1024;
/// Bytes kept for one of them.
const INCOMING_BYTES: u64 = 64 << 10;
/// Bytes kept for all of them.
const INCOMING_BYTES_TOTAL: u64 = 4 << 20;
/// The length of a connection id.
const ID_BYTES: usize = 8;
