//! One UDP socket, its QUIC endpoint, and the links over it.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::{Connecting, Endpoint, Incoming, Runtime, TokioRuntime};
use rolecast_membership::NodeId;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::{BindError, Socket, TransportConfig};
use crate::counters::Counters;
use crate::event::{DialError, Events, TransportEvent};
use crate::problem::{Problem, code};
use crate::quic::{Settings, enlarge_buffers};
use crate::session::Session;
use crate::setup::Setup;
use crate::shared::Shared;
use crate::sync::lock;
use crate::tasks::{Place, Tasks};
use crate::timing::{DRAIN, LINGER, SETUP};
use crate::tls;

/// One UDP socket with one QUIC endpoint on it, and at most one link to each node.
///
/// Dropping it closes every link at once; [`Transport::close`] does so in good order.
///
/// ```
/// use rolecast_transport::{Class, MeshSecret, NodeKey, Transport, TransportConfig, TransportEvent, Trust};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let secret = MeshSecret::generate();
/// let start = || {
///     let trust = Trust::from_secret(&secret, &NodeKey::generate());
///     Transport::bind(TransportConfig::new(([127, 0, 0, 1], 0).into(), trust, 1))
/// };
/// let (alice, mut to_alice) = start()?;
/// let (bob, mut to_bob) = start()?;
/// alice.dial(bob.local_addr(), Some(bob.node_id()));
///
/// let mut events = Vec::new();
/// to_alice.recv_many(&mut events, 16).await;
/// let Some(TransportEvent::LinkUp { link, .. }) = events.pop() else { panic!() };
/// link.send_frame(Class::Data, "hel".into(), "lo".into());
///
/// while !matches!(events.last(), Some(TransportEvent::Frame { bytes, .. }) if bytes == "hello") {
///     to_bob.recv_many(&mut events, 16).await;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Transport {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    settings: Arc<Settings>,
    local_addr: SocketAddr,
}

impl Transport {
    /// Binds the socket and starts to accept. Must be called inside a tokio runtime.
    pub fn bind(config: TransportConfig) -> Result<(Transport, Events), BindError> {
        Transport::bind_speaking(config, tls::ALPN)
    }

    /// As [`Transport::bind`], with the protocol version given.
    pub(crate) fn bind_speaking(
        config: TransportConfig,
        alpn: &[u8],
    ) -> Result<(Transport, Events), BindError> {
        let runtime = Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let settings = Arc::new(Settings::new(&config, alpn).map_err(BindError::Tls)?);
        let tasks = match &config.socket {
            Socket::Abstract { runtime, .. } => Place::Given(runtime.clone()),
            Socket::Bind(_) | Socket::Bound(_) => Place::Tokio(runtime),
        };
        let shared = Arc::new(Shared::new(&config, Tasks(tasks)));
        let (socket, quic_runtime) = open(config.socket)?;
        let local_addr = socket.local_addr()?;
        let endpoint = Endpoint::new_with_abstract_socket(
            settings.endpoint.clone(),
            Some((**settings.server.towards(local_addr.ip())).clone()),
            socket,
            quic_runtime,
        )?;
        let accept = accept(endpoint.clone(), shared.clone(), settings.clone());
        shared.tasks.spawn(accept);
        let events = Events::new(shared.clone());
        let transport = Transport {
            shared,
            endpoint,
            settings,
            local_addr,
        };
        Ok((transport, events))
    }

    /// The address that the socket is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// This node's identity.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.shared.node_id
    }

    /// Starts one attempt to open a link to the node at this address, which must be `expected` if that is given.
    ///
    /// The outcome is a `LinkUp` or a `DialFailed` event, after five seconds at the latest.
    /// There is neither if the attempt ended because there is, or is just coming up, another connection to the same node, or if a dial to this address was under way already.
    pub fn dial(&self, addr: SocketAddr, expected: Option<NodeId>) {
        if !lock(&self.shared.dialling).insert(addr) {
            return;
        }
        self.shared.tally.dials.up();
        let config = self.settings.dialling(addr);
        let connecting = self
            .endpoint
            .connect_with(config, addr, tls::SERVER_NAME)
            .map_err(|error| Problem::Unreachable(error.to_string()));
        self.shared
            .tasks
            .spawn(dial(self.shared.clone(), connecting, addr, expected));
    }

    /// Where the transport's own tasks run, and its driver's may.
    #[must_use]
    pub fn tasks(&self) -> Tasks {
        self.shared.tasks.clone()
    }

    /// Hands the frames that were queued by [`Link::queue_frame`](crate::Link::queue_frame) to QUIC.
    ///
    /// Whatever QUIC does not take on at once goes out by itself later.
    pub fn flush(&self) {
        self.shared.flush();
    }

    /// What went wrong so far, and how often.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.tally.read()
    }

    /// Closes every link as [`Link::close`](crate::Link::close) does, tells peers why, and waits until they know or three seconds have passed.
    ///
    /// Afterwards [`Events`] ends once all has been taken.
    pub async fn close(&self, reason: &str) {
        for link in self.shared.stop() {
            link.close_when_flushed(code::CLOSING, reason);
        }
        let mut writers = self.shared.writers.subscribe();
        let gone = writers.wait_for(|writers| *writers == 0);
        let in_order = timeout(LINGER, gone).await.is_ok();
        self.endpoint.close(code::CLOSING, reason.as_bytes());
        let drained = timeout(DRAIN, self.endpoint.wait_idle()).await.is_ok();
        tracing::debug!(in_order, drained, "transport closed");
        self.shared.queue.close();
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.endpoint.close(code::CLOSING, b"the node is gone");
        self.shared.queue.close();
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("node_id", &self.shared.node_id)
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

/// A socket and the runtime that goes with it.
type Opened = (Arc<dyn quinn::AsyncUdpSocket>, Arc<dyn Runtime>);

fn open(socket: Socket) -> Result<Opened, BindError> {
    let socket = match socket {
        Socket::Abstract { socket, runtime } => return Ok((socket, runtime)),
        Socket::Bound(socket) => socket,
        Socket::Bind(addr) => UdpSocket::bind(addr).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { addr },
            io::ErrorKind::AddrNotAvailable => BindError::NotLocal { addr },
            io::ErrorKind::PermissionDenied => BindError::NotPermitted { addr },
            _ => BindError::Io(error),
        })?,
    };
    enlarge_buffers(&socket)?;
    let socket = TokioRuntime.wrap_udp_socket(socket)?;
    Ok((socket, Arc::new(TokioRuntime)))
}

/// Answers whoever dials, until the endpoint is closed.
async fn accept(endpoint: Endpoint, shared: Arc<Shared>, settings: Arc<Settings>) {
    let most = shared.limits.handshakes_max;
    let handshakes = Arc::new(Semaphore::new(most));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            shared.tally.overloaded.up();
            incoming.refuse();
            continue;
        };
        // When many shake hands at once, whoever has not proved that it is where it says goes through one more round trip.
        if handshakes.available_permits() < most / 2 && !incoming.remote_address_validated() {
            let _ = incoming.retry();
            continue;
        }
        let tasks = shared.tasks.clone();
        let (shared, settings) = (shared.clone(), settings.clone());
        tasks.spawn(async move {
            let session = answer(&shared, incoming, &settings).await;
            drop(permit);
            if let Some(session) = session {
                session.start();
            }
        });
    }
}

/// Shakes hands with whoever dialled; says why not if it comes to nothing.
async fn answer(shared: &Arc<Shared>, incoming: Incoming, settings: &Settings) -> Option<Session> {
    let addr = canonical(incoming.remote_address());
    let config = settings.answering(addr);
    let connecting = incoming.accept_with(config).map_err(Problem::from);
    match shake_hands(shared, connecting, addr, None, false).await {
        Ok(session) => session,
        Err(problem) => {
            match problem.as_refusal() {
                Some(why) => {
                    tracing::warn!(%addr, %why, "incoming connection refused");
                    shared.tally.refused.up();
                    shared
                        .queue
                        .push_minor(TransportEvent::Refused { addr, why });
                }
                None => tracing::debug!(%addr, ?problem, "incoming connection given up"),
            }
            None
        }
    }
}

/// Runs one dial to its outcome.
async fn dial(
    shared: Arc<Shared>,
    connecting: Result<Connecting, Problem>,
    addr: SocketAddr,
    expected: Option<NodeId>,
) {
    let outcome = shake_hands(&shared, connecting, addr, expected, true).await;
    lock(&shared.dialling).remove(&addr);
    match outcome {
        Ok(Some(session)) => session.start(),
        Ok(None) => tracing::debug!(%addr, "dial ended: there is another connection to that node"),
        Err(problem) => {
            let why = problem.as_dial_error();
            shared.tally.dials_failed.up();
            log_failed_dial(addr, &why);
            shared.queue.push(TransportEvent::DialFailed { addr, why });
        }
    }
}

/// What will not pass by itself is a warning; who is merely not there yet is not.
fn log_failed_dial(addr: SocketAddr, why: &DialError) {
    match why {
        DialError::AnotherMesh
        | DialError::RefusedByPeer(_)
        | DialError::CertificateRefused(_)
        | DialError::Version(_)
        | DialError::DuplicateIdentity
        | DialError::Violation(_) => tracing::warn!(%addr, %why, "dial failed"),
        _ => tracing::debug!(%addr, %why, "dial failed"),
    }
}

async fn shake_hands(
    shared: &Arc<Shared>,
    connecting: Result<Connecting, Problem>,
    addr: SocketAddr,
    expected: Option<NodeId>,
    dialled: bool,
) -> Result<Option<Session>, Problem> {
    let deadline = Instant::now() + SETUP;
    let connection = timeout_at(deadline, connecting?)
        .await
        .map_err(|_| Problem::TimedOut)??;
    let setup = Setup {
        shared: shared.clone(),
        connection,
        addr,
        dialled,
    };
    setup.run(expected, deadline).await
}

/// On a socket for both IP versions, IPv4 peers have IPv6 addresses; they are shown as what they are.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
