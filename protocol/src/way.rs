//! A way to a peer over other members, in the place of a link.
//!
//! It carries the same frames, in the same order within each class, but what is on it may get lost without a word, at any node and link that it goes over.
//! So frames are counted: the other end says if it misses one, and signs of life show it that what came last is missing too.
//! A way that lost something is not mended; another one is opened, with a greater number, and begins with a hello like every link.
//!
//! Each end has a way of its own, over which nothing comes back.

use bytes::{Bytes, BytesMut};
use rolecast_membership::{Epoch, NodeId, Time};

use crate::api::{Class, LinkId, Output};
use crate::wire::relay::{RelayHead, Relayed, WayClass, WayFrame};

/// A way to a peer, as its source has it.
#[derive(Debug)]
pub(crate) struct Way {
    /// All nodes of the way, this one first and the peer last.
    pub(crate) route: Vec<NodeId>,
    pub(crate) number: u64,
    /// The peer's way over which this node heard it when it opened this one.
    pub(crate) answers: u64,
    pub(crate) opened_at: Time,
    /// When a sign of life is due.
    pub(crate) sign_at: Time,
    /// How many frames of each class went over it.
    sent: [u64; 3],
}

impl Way {
    pub(crate) fn new(route: Vec<NodeId>, (number, answers): (u64, u64), now: Time) -> Self {
        Way {
            route,
            number,
            answers,
            opened_at: now,
            sign_at: now,
            sent: [0; 3],
        }
    }

    /// The node that passes on what goes this way first.
    pub(crate) fn relay(&self) -> NodeId {
        self.route[1]
    }

    /// Puts the next frame of a class into its envelope.
    pub(crate) fn wrap(
        &mut self,
        life: Epoch,
        class: Class,
        (head, body): (Bytes, Bytes),
    ) -> Envelope {
        let sent = &mut self.sent[class as usize];
        let what = Relayed::Frame(WayFrame {
            class: WayClass::of(class),
            way: self.number,
            answers: self.answers,
            number: *sent,
        });
        *sent += 1;
        Envelope::new(self.route.clone(), life, what, (head, body))
    }
}

/// Something relayed that is ready to go.
#[derive(Debug)]
pub(crate) struct Envelope {
    stream: Class,
    head: Bytes,
    body: Bytes,
}

impl Envelope {
    /// What goes out from the first node of a route.
    pub(crate) fn new(
        route: Vec<NodeId>,
        life: Epoch,
        what: Relayed,
        (inner, body): (Bytes, Bytes),
    ) -> Self {
        let head = RelayHead {
            route,
            at: 1,
            life,
            what,
        };
        let stream = head.stream();
        let outer = head.encode();
        let head = if inner.is_empty() {
            outer
        } else {
            let mut both = BytesMut::with_capacity(outer.len() + inner.len());
            both.extend_from_slice(&outer);
            both.extend_from_slice(&inner);
            both.freeze()
        };
        Envelope { stream, head, body }
    }

    /// What goes on from a node between.
    pub(crate) fn onward(head: RelayHead, body: Bytes) -> Self {
        let head = RelayHead {
            at: head.at + 1,
            ..head
        };
        Envelope {
            stream: head.stream(),
            head: head.encode(),
            body,
        }
    }

    /// The stream on which it goes.
    pub(crate) fn stream(&self) -> Class {
        self.stream
    }

    /// Bytes that it takes on a link.
    pub(crate) fn len_bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// What the driver has to do with it.
    pub(crate) fn over(self, link: LinkId) -> Output {
        Output::Frame {
            link,
            class: self.stream,
            head: self.head,
            body: self.body,
        }
    }
}

/// A peer's way to this node, as it is heard.
#[derive(Debug)]
pub(crate) struct HeardWay {
    pub(crate) life: Epoch,
    pub(crate) number: u64,
    /// The way back.
    pub(crate) back: Vec<NodeId>,
    /// When something came over it last.
    pub(crate) at: Time,
    /// How many frames of each class came; nothing counts any more once one is missing.
    next: Option<[u64; 3]>,
}

/// What became of a frame that came over a peer's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is the next one.
    Next,
    /// It is the first one of a way.
    First,
    /// Others that came before it got lost; this is said once of each way.
    Missing,
    /// It means nothing any more.
    Stale,
}

impl HeardWay {
    /// Takes in that a frame came; `heard` is the way that was heard last.
    pub(crate) fn hear(
        heard: &mut Option<HeardWay>,
        now: Time,
        head: &RelayHead,
        frame: &WayFrame,
    ) -> Heard {
        let which = (head.life, frame.way);
        if let Some(way) = heard.as_mut().filter(|way| way.which() >= which) {
            return match way.which() == which {
                true => way.count(now, frame),
                false => Heard::Stale,
            };
        }
        let first = frame.number == 0 && frame.class == WayClass::Control;
        *heard = Some(HeardWay {
            life: head.life,
            number: frame.way,
            back: head.way_back(),
            at: now,
            next: first.then_some([1, 0, 0]),
        });
        match first {
            true => Heard::First,
            false => Heard::Missing,
        }
    }

    /// A peer says in this life that it does not come over ways up to this number any more.
    pub(crate) fn end(heard: &mut Option<HeardWay>, now: Time, (life, number): (Epoch, u64)) {
        match heard {
            Some(way) if way.which() > (life, number) => {}
            Some(way) if way.which() == (life, number) => way.close(),
            _ if number == 0 => {}
            _ => {
                *heard = Some(HeardWay {
                    life,
                    number,
                    back: Vec::new(),
                    at: now,
                    next: None,
                });
            }
        }
    }

    fn which(&self) -> (Epoch, u64) {
        (self.life, self.number)
    }

    fn count(&mut self, now: Time, frame: &WayFrame) -> Heard {
        let Some(next) = &mut self.next else {
            return Heard::Stale;
        };
        let next = &mut next[frame.class as usize];
        if *next != frame.number {
            self.next = None;
            return Heard::Missing;
        }
        *next += 1;
        self.at = now;
        Heard::Next
    }

    /// Nothing that comes over it counts any more.
    pub(crate) fn close(&mut self) {
        self.next = None;
    }

    /// Whether what comes over it counts.
    pub(crate) fn is_whole(&self) -> bool {
        self.next.is_some()
    }
}

/// What carries frames to this node: a link, or a peer's way in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Link(LinkId),
    Way(Epoch, u64),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::strategies::id;

    #[test]
    fn a_way_on_which_a_frame_is_missing_is_heard_no_more() {
        let mut heard = None;
        let mut hear = |life, class, way, number| {
            let frame = WayFrame {
                class,
                way,
                answers: 0,
                number,
            };
            let head = RelayHead {
                route: vec![id(1), id(2), id(3)],
                at: 2,
                life: Epoch(life),
                what: Relayed::Frame(frame),
            };
            HeardWay::hear(&mut heard, Time::ZERO, &head, &frame)
        };
        use WayClass::{Bulk, Control, Data};
        assert_eq!(hear(1, Control, 4, 0), Heard::First);
        assert_eq!(hear(1, Data, 4, 0), Heard::Next);
        assert_eq!(hear(1, Bulk, 4, 0), Heard::Next);
        assert_eq!(hear(1, Control, 3, 0), Heard::Stale);
        assert_eq!(hear(1, Data, 4, 2), Heard::Missing);
        assert_eq!(hear(1, Data, 4, 1), Heard::Stale);
        assert_eq!(hear(1, Control, 4, 1), Heard::Stale);
        // The first frame of the next way got lost as well.
        assert_eq!(hear(1, Control, 5, 1), Heard::Missing);
        assert_eq!(hear(1, Control, 5, 2), Heard::Stale);
        assert_eq!(hear(1, Control, 6, 0), Heard::First);
        assert_eq!(hear(2, Control, 1, 0), Heard::First);
        assert_eq!(hear(1, Control, 7, 0), Heard::Stale);
    }

    #[test]
    fn a_way_that_its_peer_has_left_is_not_heard_whenever_it_comes() {
        let way = |life, number| WayFrame {
            class: WayClass::Control,
            way: number,
            answers: life,
            number: 0,
        };
        let hear = |heard: &mut Option<HeardWay>, life, number| {
            let frame = way(life, number);
            let head = RelayHead {
                route: vec![id(1), id(2), id(3)],
                at: 2,
                life: Epoch(life),
                what: Relayed::Frame(frame),
            };
            HeardWay::hear(heard, Time::ZERO, &head, &frame)
        };
        let end = |heard: &mut Option<HeardWay>, life, number| {
            HeardWay::end(heard, Time::ZERO, (Epoch(life), number));
        };
        let mut heard = None;
        end(&mut heard, 1, 0);
        assert!(heard.is_none());
        end(&mut heard, 1, 4);
        assert_eq!(hear(&mut heard, 1, 4), Heard::Stale);
        assert_eq!(hear(&mut heard, 1, 5), Heard::First);
        end(&mut heard, 1, 4);
        assert!(heard.as_ref().is_some_and(HeardWay::is_whole));
        end(&mut heard, 1, 5);
        assert!(!heard.as_ref().is_some_and(HeardWay::is_whole));
        assert_eq!(hear(&mut heard, 2, 1), Heard::First);
        end(&mut heard, 1, 9);
        assert!(heard.is_some_and(|heard| heard.is_whole()));
    }
}
