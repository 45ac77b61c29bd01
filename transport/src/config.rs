//! What a transport starts with.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::trust::Trust;

/// What a [`Transport`](crate::Transport) starts with.
#[derive(Debug)]
pub struct TransportConfig {
    /// Where packets come in and go out.
    pub socket: Socket,
    /// Who this node is, and whom it believes.
    pub trust: Trust,
    /// Tells lives of one key apart, such as the node's epoch at start; the same for as long as the transport lives.
    pub instance: u64,
    /// The bounds of everything that is kept.
    pub limits: Limits,
    /// Where QUIC's random choices (connection ids, packet number skips) come from instead of the operating system; for simulations.
    ///
    /// TLS keys are drawn from the operating system nevertheless: they change bytes, never lengths or times.
    pub rng_seed: Option<[u8; 32]>,
    /// Where QUIC writes down what it does, if anywhere.
    #[cfg(feature = "qlog")]
    pub qlog: Option<crate::qlog::Qlog>,
}

impl TransportConfig {
    /// A transport that listens on this address, with default limits.
    #[must_use]
    pub fn new(listen: SocketAddr, trust: Trust, instance: u64) -> Self {
        TransportConfig {
            socket: Socket::Bind(listen),
            trust,
            instance,
            limits: Limits::default(),
            rng_seed: None,
            #[cfg(feature = "qlog")]
            qlog: None,
        }
    }
}

/// Where packets come in and go out.
#[derive(Debug)]
pub enum Socket {
    /// A UDP socket to be bound to this address; port 0 takes any free one.
    Bind(SocketAddr),
    /// A UDP socket that is bound already.
    Bound(std::net::UdpSocket),
    /// Anything that carries datagrams, such as a simulated network, and the runtime that goes with it.
    Abstract {
        /// The socket.
        socket: Arc<dyn quinn::AsyncUdpSocket>,
        /// Runs the tasks of the transport and of QUIC, and QUIC's timers; [`quinn::TokioRuntime`] unless there is a reason.
        runtime: Arc<dyn quinn::Runtime>,
    },
}

/// The bounds of everything that is kept.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest control frame, in bytes.
    pub control_frame_bytes_max: usize,
    /// The largest data frame, in bytes.
    pub data_frame_bytes_max: usize,
    /// Bytes of received data frames that wait for the driver, over all links; beyond it peers are held back.
    pub data_queue_bytes: usize,
    /// Bytes of received bulk frames that wait for the driver, over all links; beyond it peers are held back.
    pub bulk_queue_bytes: usize,
    /// Bytes of received control frames that wait for the driver, over all links; beyond it peers are held back.
    pub control_queue_bytes: usize,
    /// Incoming connections that are still shaking hands; beyond it more are refused and counted.
    pub handshakes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            control_frame_bytes_max: 1 << 20,
            data_frame_bytes_max: (16 << 20) + (64 << 10),
            data_queue_bytes: 2 << 20,
            bulk_queue_bytes: 2 << 20,
            control_queue_bytes: 2 << 20,
            handshakes_max: 256,
        }
    }
}

/// Why a transport could not start. Nothing is left behind.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast_transport::{MeshSecret, NodeKey, Transport, TransportConfig, Trust};
/// use rolecast_transport::BindError;
///
/// # let trust = Trust::from_secret(&MeshSecret::generate(), &NodeKey::generate());
/// # let first = Transport::bind(TransportConfig::new(([127, 0, 0, 1], 0).into(), trust.clone(), 1))?;
/// let taken = first.0.local_addr();
/// match Transport::bind(TransportConfig::new(taken, trust, 2)) {
///     Err(BindError::InUse { addr }) => assert_eq!(addr, taken),
///     Err(error) => panic!("not for this reason: {error}"),
///     Ok(_) => panic!("the port is taken"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process has the port.
    #[error(
        "{addr} is in use by another process: stop it, or listen on another port (port 0 takes any free one)"
    )]
    InUse {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The address belongs to no interface of this machine.
    #[error(
        "{addr} is no address of this machine: listen on one of its own, or on 0.0.0.0 or [::] for all"
    )]
    NotLocal {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The operating system does not permit it.
    #[error("listening on {addr} is not permitted: ports below 1024 need privileges")]
    NotPermitted {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The socket could not be made for another reason.
    #[error("the UDP socket cannot be used: {0}")]
    Io(#[from] io::Error),
    /// The certificate or the key cannot be used for QUIC.
    #[error("this certificate or key cannot be used: {0}")]
    Tls(String),
    /// There is no tokio runtime to run in.
    #[error("a transport must be started inside a tokio runtime")]
    NoRuntime,
}
