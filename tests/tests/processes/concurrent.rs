//! All holders of a role multicast at once, while one is killed and another one stands still: who goes on agrees on what was said, and in which order.

use std::collections::BTreeMap;
use std::time::Instant;

use nix::sys::signal::Signal;
use rolecast::{Dissemination, Order};
use rolecast_tests::PATIENCE;
use rolecast_tests::logs::{Log, Promised, violations};
use rolecast_tests::mesh::Mesh;
use rolecast_tests::talk::{Life, Task, Way};

use crate::talkers::{Talker, agree_on_lives};

const TALKERS: usize = 5;
const ROUNDS: u64 = 20;
/// Of those who are not killed, each says so many words in a round: enough to be at it when things happen, and few enough that nobody waits for who stands still.
const WORDS: u64 = 200;
/// After so many words of one that is to be killed the next thing happens.
const WORDS_BETWEEN: u64 = 20;
/// In these rounds, one of every so many, who stands still is taken for dead.
const LONG_STOP_EVERY: u64 = 10;

#[test]
fn who_goes_on_agrees_while_one_is_killed_and_one_stands_still() {
    let mesh = Mesh::new();
    let mut talkers = vec![Talker::start(&mesh, "talker-0", [])];
    for number in 1..TALKERS {
        let name = format!("talker-{number}");
        let talker = Talker::start(&mesh, &name, talkers.iter().take(1));
        talkers.push(talker);
    }
    let mut former: Option<Round> = None;
    for number in 0..ROUNDS {
        let lives = agree_on_lives(&mut talkers);
        if let Some(former) = former.take() {
            former.finish(&mut talkers);
        }
        let mut round = Round::new(number, lives);
        round.play(&mut talkers);
        round.come_to_terms(&mut talkers);
        let victim = round.victim;
        former = Some(round);
        if number + 1 < ROUNDS {
            let (before, rest) = talkers.split_at_mut(victim);
            let (victim, after) = rest.split_first_mut().expect("it is one of them");
            let others: Vec<&Talker> = before.iter().chain(after.iter()).collect();
            victim.start_again(&mesh, &others);
        }
    }
    let last = former.expect("there are rounds");
    let dead = talkers[last.victim].life().node;
    for index in last.survivors() {
        talkers[index].wait_until(|reports| reports.down.contains(&dead));
    }
    last.finish(&mut talkers);
}

/// One round: who does what, and what the one that is killed has heard.
struct Round {
    number: u64,
    way: Way,
    victim: usize,
    stopped: usize,
    /// Whether it stands still until it is taken for dead.
    long_stop: bool,
    lives: Vec<Life>,
    victims: Option<(Life, Log)>,
}

impl Round {
    fn new(number: u64, lives: Vec<Life>) -> Self {
        let at = usize::try_from(number).expect("there are few");
        let victim = at % TALKERS;
        // Every pair has its turn.
        let apart = 1 + at / TALKERS % (TALKERS - 1);
        Round {
            number,
            way: WAYS[at % WAYS.len()],
            victim,
            stopped: (victim + apart) % TALKERS,
            long_stop: number % LONG_STOP_EVERY == LONG_STOP_EVERY - 1,
            lives,
            victims: None,
        }
    }

    /// Who is not killed.
    fn survivors(&self) -> impl Iterator<Item = usize> + use<> {
        let victim = self.victim;
        (0..TALKERS).filter(move |index| *index != victim)
    }

    /// Has everybody talk, stops one, kills one, and lets the former go on when the others have done what they can.
    fn play(&mut self, talkers: &mut [Talker]) {
        let Round {
            number,
            way,
            victim,
            stopped,
            ..
        } = *self;
        for (index, talker) in talkers.iter_mut().enumerate() {
            // What counts is who goes down from here on.
            talker.reports().down.clear();
            talker.order(&Task::Say {
                round: number,
                way,
                count: (index != victim).then_some(WORDS),
            });
        }
        let others: Vec<usize> = self.survivors().filter(|index| *index != stopped).collect();
        let dying = talkers[victim].life();
        let witness = others[usize::try_from(number).expect("there are few") % others.len()];
        let hear_of_victim = |talkers: &mut [Talker]| {
            let upto = talkers[witness].reports().upto(number, dying) + WORDS_BETWEEN;
            talkers[witness].wait_until(|reports| {
                reports.upto(number, dying) >= upto || reports.is_interrupted(number)
            });
        };
        hear_of_victim(talkers);
        talkers[stopped].signal(Signal::SIGSTOP);
        hear_of_victim(talkers);
        talkers[victim].kill();
        let heard = talkers[victim].reports().logs.remove(&number);
        let log = Log {
            killed: true,
            ..heard.unwrap_or_default()
        };
        self.victims = Some((dying, log));
        // Who stands still holds nobody up.
        let speakers: Vec<Life> = others.iter().map(|index| talkers[*index].life()).collect();
        for index in &others {
            talkers[*index].wait_until(|reports| {
                let done = |life: &Life| reports.upto(number, *life) == WORDS;
                speakers.iter().all(done) || reports.is_interrupted(number)
            });
        }
        if self.long_stop {
            let still = talkers[stopped].life().node;
            for index in &others {
                talkers[*index].wait_until(|reports| reports.down.contains(&still));
            }
        }
        talkers[stopped].signal(Signal::SIGCONT);
        if self.long_stop {
            talkers[stopped].wait_until(|reports| reports.is_interrupted(number));
        }
    }

    /// Waits until who goes on has said everything, and has heard all that the others of them have.
    fn come_to_terms(&self, talkers: &mut [Talker]) {
        let number = self.number;
        for index in self.survivors() {
            talkers[index].wait_until(|reports| reports.said == Some(number));
        }
        let deadline = Instant::now() + PATIENCE;
        while let Some((index, life, upto)) = self.find_lack(talkers) {
            let way = self.way;
            assert!(
                Instant::now() < deadline,
                "round {number}, {way:?}: {} does not hear {} up to {upto}",
                talkers[index].life().node,
                life.node
            );
            talkers[index].wait_a_moment();
        }
    }

    /// Somebody who went on and has not heard a life as far as another one who did, and was not told that something is lost either.
    fn find_lack(&self, talkers: &mut [Talker]) -> Option<(usize, Life, u64)> {
        let due = self.due(talkers);
        self.survivors().find_map(|index| {
            let reports = talkers[index].reports();
            let lacks = |(life, upto): &(Life, u64)| {
                let done = reports.is_done_with(self.number, *life, *upto);
                !done && !reports.is_interrupted(self.number)
            };
            let (life, upto) = due.clone().into_iter().find(lacks)?;
            Some((index, life, upto))
        })
    }

    /// How far every life was heard by anybody who went on, and how much those said who did.
    fn due(&self, talkers: &mut [Talker]) -> BTreeMap<Life, u64> {
        let mut due = BTreeMap::new();
        for index in self.survivors() {
            let life = talkers[index].life();
            let reports = talkers[index].reports();
            if reports.is_interrupted(self.number) {
                continue;
            }
            let log = reports.logs.get(&self.number);
            let heard = log.into_iter().flat_map(|log| log.upto());
            for (from, upto) in heard.chain([(life, WORDS)]) {
                let due = due.entry(from).or_default();
                *due = upto.max(*due);
            }
        }
        due
    }

    /// Compares what everybody heard, after nobody hears anything more of the one that was killed.
    fn finish(mut self, talkers: &mut [Talker]) {
        let number = self.number;
        for index in self.survivors() {
            talkers[index].wait_until(|reports| {
                let settled = reports.settled.as_ref();
                settled.is_some_and(|(round, _)| *round == number)
            });
        }
        self.come_to_terms(talkers);
        let (dead, log) = self.victims.take().expect("it was played");
        let dying = dead.node;
        let mut logs = BTreeMap::from([(dead, log)]);
        for index in self.survivors() {
            let node = talkers[index].life().node;
            let reports = talkers[index].reports();
            let life = self.lives.iter().find(|life| life.node == node);
            let log = reports.logs.remove(&number).unwrap_or_default();
            logs.insert(*life.expect("it was there when the round began"), log);
        }
        let said = self.lives.iter().map(|life| {
            let count = (life.node != dying).then_some(WORDS);
            (*life, count)
        });
        let promised = Promised {
            said: said.collect(),
            causal: self.way.order == Order::Causal,
            uniform: self.way.k_safe > 1,
        };
        let found = violations(&promised, &logs);
        let way = self.way;
        assert!(found.is_empty(), "round {number}, {way:?}: {found:#?}");
        let words: Vec<String> = logs.values().map(show).collect();
        println!("round {number}, {way:?}: {} words", words.join(", "));
    }
}

fn show(log: &Log) -> String {
    let words = log.heard.len();
    match (log.killed, log.interrupted) {
        (true, _) => format!("{words} (killed)"),
        (_, Some(_)) => format!("{words} (declared down)"),
        _ => words.to_string(),
    }
}

/// The ways that take turns.
const WAYS: [Way; 6] = [
    way(Dissemination::Digest, Order::Fifo, 1),
    way(Dissemination::Digest, Order::Causal, 1),
    way(Dissemination::Eager, Order::Fifo, 1),
    way(Dissemination::Gossip { fanout: 2 }, Order::Fifo, 1),
    way(Dissemination::Digest, Order::Fifo, 2),
    way(Dissemination::Eager, Order::Causal, 1),
];

const fn way(dissemination: Dissemination, order: Order, k_safe: u8) -> Way {
    Way {
        dissemination,
        order,
        k_safe,
    }
}
