//! A peer that sends more than it may.

use bytes::Bytes;

use super::{Linked, batch_frame, key, reason, resume};
use crate::api::{Class, FlowId, Output};
use crate::batch::Batch;
use crate::config::Limits;
use crate::mode::Dissemination;
use crate::wire::{DataHead, encode_head};

#[test]
fn an_origin_that_minds_no_window_loses_its_link_and_fills_no_inbox() {
    let limits = Limits {
        flow_window_bytes: 1_000,
        payload_bytes_max: 1_000,
        ..Limits::default()
    };
    let bytes_max = 5 * (limits.flow_window_bytes + (128 << 10) + 32);
    let mut linked = Linked::new(limits);
    let set = linked.set(FlowId(1), Dissemination::BestEffort);
    assert_eq!(linked.announce(&set), None);
    let mut delivered = 0;
    let closed = (1..10_000).find(|&first| {
        let batch = Batch::single(Bytes::from_static(&[7; 1_000]), None);
        let outputs = linked.hear(Class::Data, batch_frame(set.key, first, &batch));
        delivered += outputs
            .iter()
            .filter(|output| matches!(output, Output::Deliver { .. }))
            .count();
        reason(&outputs).is_some()
    });
    assert!(closed.is_some(), "{delivered} were delivered");
    let untaken = linked.engine.usage().untaken_bytes_max;
    assert!((4_000..=bytes_max).contains(&untaken), "{untaken} bytes");
}

#[test]
fn a_session_of_more_frames_than_there_can_be_costs_the_link() {
    let mut linked = Linked::new(Limits::default());
    assert_eq!(linked.say(Class::Data, resume(1 << 62)), None);
    let skipped = DataHead::Skipped {
        count: 1 << 62,
        flows: Vec::new(),
    };
    let why = linked.say(Class::Data, encode_head(&skipped));
    assert_eq!(why, Some("more frames than there can be"));
    // Whatever it says after that is nobody's word.
    assert_eq!(linked.say(Class::Data, resume(1)), None);
    assert_eq!(
        linked.announce(&linked.set(FlowId(1), Dissemination::Eager)),
        None
    );
    let batch = Batch::single(Bytes::from_static(b"x"), None);
    let outputs = linked.hear(Class::Data, batch_frame(key(FlowId(1)), 1, &batch));
    assert!(outputs.is_empty(), "{outputs:?}");
}
