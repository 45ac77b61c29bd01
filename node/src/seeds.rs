//! Where a node looks for its mesh: the names it was given, and the addresses behind them.
//!
//! A name may be unknown when the node starts and known later, and its addresses may change.
//! So names are looked up again as long as the node lives: soon, while the node is alone or a name was never known, and once in a long while otherwise.
//! A name that cannot be looked up keeps the addresses it had.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::command::Command;
use crate::error::StartError;
use crate::resolve::{Resolver, is_host_and_port};
use crate::shared::Shared;

/// The seeds of one node.
pub(crate) struct Seeds {
    seeds: Vec<Seed>,
    resolver: Resolver,
}

/// One seed, as it was given, with the addresses behind it as far as they are known.
struct Seed {
    text: String,
    addrs: Vec<SocketAddr>,
    /// Whether it was said that the name cannot be looked up.
    missed: bool,
}

impl Seeds {
    /// Checks the form of the seeds; looks nothing up.
    pub(crate) fn parse(texts: &[String], resolver: Resolver) -> Result<Self, StartError> {
        let parse = |text: &String| {
            if !is_host_and_port(text) {
                return Err(StartError::Seed { seed: text.clone() });
            }
            Ok(Seed {
                text: text.clone(),
                addrs: text.parse().into_iter().collect(),
                missed: false,
            })
        };
        let seeds = texts.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Seeds { seeds, resolver })
    }

    /// Looks every name up, one after the other, until the deadline.
    pub(crate) async fn look_up(&mut self, deadline: Instant) {
        for seed in self.seeds.iter_mut().filter(|seed| seed.is_name()) {
            let found = timeout_at(deadline, self.resolver.look_up(&seed.text)).await;
            seed.found(found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())));
        }
    }

    /// All addresses, in the order of the seeds.
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        let addrs = self.seeds.iter().flat_map(|seed| &seed.addrs);
        addrs.copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seeds.is_empty()
    }

    /// Whether there is a name among them, whose addresses may change.
    fn have_names(&self) -> bool {
        self.seeds.iter().any(Seed::is_name)
    }

    /// Whether there is a name among them that was never known.
    fn have_unknown(&self) -> bool {
        self.seeds.iter().any(|seed| seed.addrs.is_empty())
    }

    /// Looks the names up again as long as the node lives, and tells its driver when an address changed.
    ///
    /// The jitter of the pauses follows from `seed`.
    pub(crate) async fn follow(mut self, shared: Arc<Shared>, seed: u64) {
        if !self.have_names() {
            return;
        }
        let mut closed = shared.watch_closed();
        let mut company = shared.watch_company();
        let mut told: BTreeSet<SocketAddr> = self.addrs().into_iter().collect();
        let mut jitter = Jitter(seed);
        let mut pause = PAUSE_MIN;
        loop {
            let urgent = !*company.borrow_and_update() || self.have_unknown();
            let wait = if urgent { pause } else { PAUSE_IN_COMPANY };
            tokio::select! {
                biased;
                _ = closed.wait_for(Option::is_some) => return,
                _ = company.changed() => {
                    pause = PAUSE_MIN;
                    continue;
                }
                () = sleep(jitter.of(wait)) => pause = PAUSE_MAX.min(pause * 2),
            }
            tokio::select! {
                biased;
                _ = closed.wait_for(Option::is_some) => return,
                () = self.look_up(Instant::now() + PATIENCE) => {}
            }
            let addrs = self.addrs();
            let known: BTreeSet<SocketAddr> = addrs.iter().copied().collect();
            if known != told {
                tracing::info!(?addrs, "the addresses of the seeds changed");
                told = known;
                if shared.submit(Command::Seeds { addrs }).is_err() {
                    return;
                }
            }
        }
    }
}

impl Seed {
    /// Whether it has to be looked up.
    fn is_name(&self) -> bool {
        self.text.parse::<SocketAddr>().is_err()
    }

    /// What looking it up came to.
    fn found(&mut self, found: io::Result<Vec<SocketAddr>>) {
        let seed = &self.text;
        match found {
            Ok(addrs) if !addrs.is_empty() => {
                self.addrs = addrs;
                self.missed = false;
            }
            Ok(_) => tracing::debug!(%seed, "the seed's name has no address"),
            Err(error) if self.missed => {
                tracing::debug!(%seed, %error, "the seed's name is not known");
            }
            Err(error) => {
                tracing::warn!(%seed, %error, "the seed's name is not known: it is looked up again later");
                self.missed = true;
            }
        }
    }
}

/// Spreads pauses, so that nodes that started together do not ask together for ever.
struct Jitter(u64);

impl Jitter {
    /// Between half of it and all of it.
    fn of(&mut self, wait: Duration) -> Duration {
        // The generator of Knuth's MMIX: its upper bits are random enough for this.
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        wait.mul_f64(0.5 + f64::from((self.0 >> 32) as u32) / f64::from(u32::MAX) / 2.0)
    }
}

/// The first pause of a node that is alone, or has a seed that was never known; it doubles with every further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause of such a node.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The pause of a node in company.
const PAUSE_IN_COMPANY: Duration = Duration::from_secs(300);
/// How long all names together may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::task::Poll;

    use rolecast_membership::{Epoch, Identity, NodeId};
    use rolecast_protocol::Limits;

    use super::*;
    use crate::error::ClosedReason;
    use crate::shared::Work;
    use crate::{MeshSecret, Node, NodeBuilder, Profile};

    /// A name service of which the test says what it knows, and that notes when it is asked.
    #[derive(Clone, Default)]
    struct Names {
        known: Arc<Mutex<BTreeMap<String, SocketAddr>>>,
        asked: Arc<Mutex<Vec<Instant>>>,
    }

    impl Names {
        fn set(&self, name: &str, addr: SocketAddr) {
            let mut known = self.known.lock().expect("no panic");
            known.insert(name.to_owned(), addr);
        }

        fn resolver(&self) -> Resolver {
            let names = self.clone();
            Resolver::new(move |name| {
                let names = names.clone();
                Box::pin(async move {
                    names.asked.lock().expect("no panic").push(Instant::now());
                    let known = names.known.lock().expect("no panic");
                    let addr = known.get(&name).copied();
                    addr.map(|addr| vec![addr])
                        .ok_or_else(|| io::ErrorKind::NotFound.into())
                })
            })
        }

        /// The seconds between the times when it was asked.
        fn pauses_s(&self) -> Vec<f64> {
            let asked = self.asked.lock().expect("no panic");
            asked
                .windows(2)
                .map(|pair| (pair[1] - pair[0]).as_secs_f64())
                .collect()
        }
    }

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// What the driver is told next.
    async fn told(shared: &Shared) -> Vec<SocketAddr> {
        let mut work = Work::default();
        let heard = std::future::poll_fn(|cx| shared.poll_work(cx, &mut work));
        let heard = tokio::time::timeout(Duration::from_secs(3_600), heard).await;
        heard.expect("names are looked up more often than once an hour");
        match work.commands.pop() {
            Some(Command::Seeds { addrs }) => addrs,
            _ => panic!("nobody else tells it anything"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_looked_up_until_they_are_known_and_then_seldom() {
        let identity = Identity {
            id: NodeId::from_bytes([1; 32]),
            epoch: Epoch(1),
            addr: addr(1),
        };
        let shared = Shared::new(identity, Limits::default());
        let names = Names::default();
        let texts = ["127.0.0.1:2".to_owned(), "a.example:3".to_owned()];
        let mut seeds = Seeds::parse(&texts, names.resolver()).expect("well-formed");
        seeds.look_up(Instant::now() + PATIENCE).await;
        assert_eq!(seeds.addrs(), [addr(2)]);
        shared.set_company(true);
        let following = tokio::spawn(seeds.follow(Arc::clone(&shared), 7));

        sleep(Duration::from_secs(120)).await;
        let pauses = names.pauses_s();
        assert!(pauses.len() >= 6, "{pauses:?}");
        assert!((0.5..=1.01).contains(&pauses[0]), "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= 30.1), "{pauses:?}");
        names.set("a.example:3", addr(3));
        assert_eq!(told(&shared).await, [addr(2), addr(3)]);

        // It is known, and the node is not alone.
        names.asked.lock().expect("no panic").clear();
        names.set("a.example:3", addr(4));
        assert_eq!(told(&shared).await, [addr(2), addr(4)]);
        sleep(Duration::from_secs(600)).await;
        let pauses = names.pauses_s();
        assert!(
            !pauses.is_empty() && pauses.iter().all(|pause| *pause >= 150.0),
            "{pauses:?}"
        );

        // Alone, it looks at once; a name that is gone keeps its address.
        names.known.lock().expect("no panic").clear();
        names.asked.lock().expect("no panic").clear();
        shared.set_company(false);
        sleep(Duration::from_secs(10)).await;
        assert!(names.pauses_s().len() >= 2, "{:?}", names.pauses_s());
        let mut work = Work::default();
        let nothing = std::future::poll_fn(|cx| Poll::Ready(shared.poll_work(cx, &mut work)));
        assert!(nothing.await.is_pending(), "nothing has changed");

        shared.close(ClosedReason::Shutdown);
        following.await.expect("it ends with the node");
    }

    fn builder(secret: &MeshSecret) -> NodeBuilder {
        Node::builder()
            .secret(secret)
            .listen("127.0.0.1:0")
            .profile(Profile::Local)
    }

    #[tokio::test]
    async fn a_node_joins_when_its_seed_becomes_known_and_again_when_it_moved() {
        let joins = async {
            let (secret, names) = (MeshSecret::generate(), Names::default());
            let mut early = builder(&secret).seeds(["mesh.example:7400"]);
            early.surroundings.resolver = names.resolver();
            let early = early.start().await.expect("an unknown name is no error");
            let first = builder(&secret).start().await.expect("it starts");
            names.set("mesh.example:7400", first.addr());
            early.wait_for("*", 2).await.expect("it is not closed");

            let second = builder(&secret).start().await.expect("it starts");
            names.set("mesh.example:7400", second.addr());
            first.shutdown().await;
            second.wait_for("*", 2).await.expect("it is not closed");
            early.shutdown().await;
        };
        let patience = Duration::from_secs(20);
        let joined = tokio::time::timeout(patience, joins).await;
        joined.expect("it joins within the time");
    }
}
