//! What nobody says of a large payload.

use bytes::Bytes;

use super::{Linked, batch_frame, key};
use crate::api::{Class, FlowId};
use crate::batch::{Batch, Note};
use crate::config::Limits;
use crate::mode::Dissemination;
use crate::session::LaneName;
use crate::wire::{DataHead, DestSet, FlowKey, LargeHead, encode_head};

/// What node 2 says of a large payload, of four bytes as it was announced, to an engine that takes up to eight.
struct Liar {
    linked: Linked,
    set: DestSet,
}

impl Liar {
    fn new() -> Self {
        let limits = Limits {
            large_bytes_max: 8,
            ..Limits::default()
        };
        let linked = Linked::new(limits);
        let flow = FlowId::large(5).expect("few");
        let large = Some(LargeHead {
            length: Some(4),
            oldest: flow,
        });
        let set = linked.set(flow, Dissemination::BestEffort);
        let set = DestSet { large, ..set };
        Liar { linked, set }
    }

    fn say(&mut self, class: Class, bytes: Bytes) -> Option<&'static str> {
        self.linked.say(class, bytes)
    }

    fn announce(&mut self, set: &DestSet) -> Option<&'static str> {
        self.say(Class::Bulk, encode_head(&DataHead::DestSet(set.clone())))
    }

    fn announce_as(&mut self, length: Option<u64>, oldest: u32) -> Option<&'static str> {
        let oldest = FlowId(oldest);
        let large = Some(LargeHead { length, oldest });
        let set = self.set.clone();
        self.announce(&DestSet { large, ..set })
    }

    fn batch(&mut self, flow: FlowId, first: u64, batch: &Batch) -> Option<&'static str> {
        let class = LaneName::of_flow(flow).class();
        self.say(class, batch_frame(key(flow), first, batch))
    }

    fn chunk(&mut self, first: u64, chunk: &'static [u8]) -> Option<&'static str> {
        let flow = self.set.key.flow;
        self.batch(flow, first, &Batch::single(Bytes::from_static(chunk), None))
    }
}

#[test]
fn what_nobody_says_of_a_large_payload_closes_the_link() {
    type Lie = fn(&mut Liar) -> Option<&'static str>;
    let lies: [(&str, Lie); 10] = [
        ("an impossible length", |liar| {
            liar.announce_as(Some(1 << 63), FlowId::LARGE_FIRST.0)
        }),
        ("an impossible number", |liar| {
            liar.announce_as(Some(4), liar.set.key.flow.0 + 1)
        }),
        ("an impossible number", |liar| liar.announce_as(Some(4), 1)),
        ("nothing is said", |liar| {
            let large = None;
            let set = liar.set.clone();
            liar.announce(&DestSet { large, ..set })
        }),
        ("another length", |liar| {
            let set = liar.set.clone();
            assert_eq!(liar.announce(&set), None);
            liar.announce_as(Some(3), set.key.flow.0)
        }),
        ("the wrong stream", |liar| {
            let set = DataHead::DestSet(liar.set.clone());
            liar.say(Class::Data, encode_head(&set))
        }),
        ("more of a large payload than was announced", |liar| {
            let set = liar.set.clone();
            assert_eq!(liar.announce(&set), None);
            assert_eq!(liar.chunk(1, b"abc"), None);
            liar.chunk(2, b"de")
        }),
        ("something other than a chunk", |liar| {
            let set = liar.set.clone();
            assert_eq!(liar.announce(&set), None);
            let question = Batch::single(Bytes::new(), Some(crate::api::CallId(1)));
            liar.batch(set.key.flow, 1, &question)
        }),
        ("something other than a chunk", |liar| {
            let set = liar.set.clone();
            assert_eq!(liar.announce(&set), None);
            let (flow, length) = (set.key.flow, None);
            liar.batch(flow, 1, &Batch::note(Note::Large { flow, length }))
        }),
        ("in another flow", |liar| {
            let flow = FlowId(1);
            let key = FlowKey {
                flow,
                ..liar.set.key
            };
            let large = None;
            let set = liar.set.clone();
            let head = DataHead::DestSet(DestSet { key, large, ..set });
            assert_eq!(liar.say(Class::Data, encode_head(&head)), None);
            liar.batch(flow, 1, &Batch::note(Note::End { complete: true }))
        }),
    ];
    for (words, lie) in lies {
        let what = lie(&mut Liar::new());
        assert!(
            what.is_some_and(|what| what.contains(words)),
            "{words}: {what:?}"
        );
    }
}

#[test]
fn chunks_of_nothing_and_of_what_is_too_large_are_dropped() {
    let mut liar = Liar::new();
    assert_eq!(liar.chunk(1, b"abc"), None);
    assert_eq!(liar.announce_as(Some(1 << 60), liar.set.key.flow.0), None);
    for first in 1..100 {
        assert_eq!(liar.chunk(first, &[0; 1_000]), None);
    }
    let usage = liar.linked.engine.usage();
    assert_eq!(
        (usage.untaken_bytes_max, usage.early_bytes_max),
        (0, 0),
        "nothing is kept"
    );
    assert_eq!(usage.retained_bytes_max, 0);
}
