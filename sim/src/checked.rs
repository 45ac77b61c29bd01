//! Many seeds for one test of a program, and the line that replays the one that failed.

use std::fmt::Debug;
use std::future::Future;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::quic::{Listening, runtime};
use crate::sim::Sim;

/// Runs a test of a program on a mesh of real nodes in virtual time, once for each of 32 seeds.
///
/// The test is handed a [`Sim`], starts nodes in it, lets its program work on them as it would anywhere, breaks things, and asserts.
/// A seed draws how the network behaves; the same seed gives the same run.
/// When a seed fails, whatever task it was in, the panic names the seed and the command that runs this seed alone.
///
/// - `ROLECAST_SIM_SEED=17` runs this seed only;
/// - `ROLECAST_SIM_SEEDS=0..1000` runs these instead.
///
/// ```
/// use rolecast::InboxItem;
/// use rolecast_sim::{check, secs};
///
/// // In a `#[test]`:
/// check(|sim| async move {
///     let nodes = sim.start(3).await;
///     let mut inbox = nodes[2].register("news").await.unwrap();
///     nodes[0].wait_for("news", 1).await.unwrap();
///
///     sim.partition([0], [1, 2]);
///     nodes[0].channel("news").multicast("hello").await.unwrap();
///     sim.sleep(secs(1)).await;
///     sim.heal();
///
///     let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("a second apart loses nothing") };
///     assert_eq!(message.payload(), "hello");
/// });
/// ```
///
/// # Panics
/// If the test fails with one of the seeds.
pub fn check<Test, Ending>(test: Test)
where
    Test: Fn(Sim) -> Ending,
    Ending: Future<Output: Verdict>,
{
    Check::new().run(test);
}

/// A test of a program with other seeds or another limit than [`check()`] gives it.
///
/// ```
/// use rolecast_sim::{Check, secs};
///
/// Check::new().seeds(0..5).within(secs(60)).run(|sim| async move {
///     let nodes = sim.start(2).await;
///     nodes[0].wait_for("*", 2).await?;
///     Ok::<(), rolecast::WaitError>(())
/// });
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing runs before `run`"]
pub struct Check {
    /// What the test names itself.
    seeds: Option<Range<u64>>,
    within: Duration,
}

/// What a test may end with: nothing, or a result whose error fails it.
pub trait Verdict {
    /// What failed, if anything did.
    fn failure(self) -> Option<String>;
}

impl Verdict for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Debug> Verdict for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| format!("{error:?}"))
    }
}

impl Default for Check {
    fn default() -> Self {
        Check {
            seeds: None,
            within: WITHIN,
        }
    }
}

impl Check {
    /// 32 seeds, each with an hour of virtual time.
    pub fn new() -> Self {
        Check::default()
    }

    /// Runs these seeds; if `ROLECAST_SIM_SEEDS` names others, those too, after these.
    pub fn seeds(self, seeds: Range<u64>) -> Self {
        let seeds = Some(seeds);
        Check { seeds, ..self }
    }

    /// Fails a test that has not ended within so much virtual time.
    pub fn within(self, within: Duration) -> Self {
        Check { within, ..self }
    }

    /// Runs the test with each seed, to the first one that fails.
    ///
    /// # Panics
    /// If the test fails with one of the seeds, or the environment names no seeds where it should.
    pub fn run<Test, Ending>(self, test: Test)
    where
        Test: Fn(Sim) -> Ending,
        Ending: Future<Output: Verdict>,
    {
        for seed in self.wanted() {
            if let Err(failure) = run_seed(seed, self.within, &test) {
                panic!("{failure}\n\n{}\n", how_to_replay(seed));
            }
        }
    }
}

impl Check {
    /// The seeds that the test and the environment name.
    fn wanted(&self) -> impl Iterator<Item = u64> + use<> {
        let named = self.seeds.clone();
        let (first, further) = match asked_for() {
            Some(Asked::Only(seed)) => (seed..seed.saturating_add(1), 0..0),
            // What a test names itself has failed before, so that it is run whatever else is.
            Some(Asked::Further(seeds)) => (named.unwrap_or_default(), seeds),
            None => (named.unwrap_or(0..SEEDS), 0..0),
        };
        first.chain(further)
    }
}

/// What the environment asks for.
enum Asked {
    /// This seed and no other.
    Only(u64),
    /// These, besides those that a test names itself.
    Further(Range<u64>),
}

/// Runs the test with one seed; says what failed and when.
fn run_seed<Test, Ending>(seed: u64, within: Duration, test: &Test) -> Result<(), String>
where
    Test: Fn(Sim) -> Ending,
    Ending: Future<Output: Verdict>,
{
    let listening = Listening::start();
    let mut ended_at = Duration::ZERO;
    let run = || {
        runtime().block_on(async {
            let sim = Sim::new(seed);
            let ended = to_its_end(test(sim.clone()), within, &listening).await;
            ended_at = sim.now();
            ended
        })
    };
    let ended = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Ok(()));
    // What panicked first is what matters; what it led to may have panicked too.
    match listening.first().map_or(ended, Err) {
        Ok(()) => Ok(()),
        Err(what) if ended_at.is_zero() => Err(what),
        Err(what) => Err(format!("{what}, after {ended_at:?} of virtual time")),
    }
}

/// Awaits the test's end, until something panics in a task of its own or the time is over.
async fn to_its_end<Ending>(
    test: Ending,
    within: Duration,
    listening: &Listening,
) -> Result<(), String>
where
    Ending: Future<Output: Verdict>,
{
    let panicked = async {
        while listening.first().is_none() {
            tokio::time::sleep(LISTEN_EVERY).await;
        }
    };
    tokio::select! {
        biased;
        ended = test => ended.failure().map_or(Ok(()), Err),
        () = panicked => Ok(()),
        () = tokio::time::sleep(within) => {
            Err(format!("the test did not end within {within:?} of virtual time"))
        }
    }
}

/// The command that runs the present test with this seed alone.
fn how_to_replay(seed: u64) -> String {
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main");
    let test = test.map_or_else(String::new, |test| format!(" {test} -- --exact"));
    format!("replay: ROLECAST_SIM_SEED={seed} cargo test{test}")
}

/// The seeds that the environment names, if it does.
fn asked_for() -> Option<Asked> {
    let named = |name: &str| std::env::var(name).ok();
    if let Some(text) = named("ROLECAST_SIM_SEED") {
        let seed: u64 = text.trim().parse().unwrap_or_else(|_| {
            panic!("ROLECAST_SIM_SEED is to be a seed, such as 17, and not {text:?}")
        });
        return Some(Asked::Only(seed));
    }
    let text = named("ROLECAST_SIM_SEEDS")?;
    let range = text.split_once("..").and_then(|(first, end)| {
        let (first, end) = (first.trim().parse().ok()?, end.trim().parse().ok()?);
        (first < end).then_some(first..end)
    });
    Some(Asked::Further(range.unwrap_or_else(|| {
        panic!("ROLECAST_SIM_SEEDS is to be a range of seeds, such as 0..1000, and not {text:?}")
    })))
}

/// So many seconds, for tests that are read aloud.
#[must_use]
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many milliseconds.
#[must_use]
pub const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// How many seeds a test runs with when it does not say.
const SEEDS: u64 = 32;
/// How much virtual time a test may take when it does not say.
const WITHIN: Duration = Duration::from_secs(3600);
/// How often it is looked whether anything has panicked, in virtual time.
const LISTEN_EVERY: Duration = Duration::from_secs(1);
