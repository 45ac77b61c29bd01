//! Frames in which every field may have any value.

use proptest::prelude::*;
use rolecast_membership::{Epoch, Time};

use super::engine;
use crate::api::{Class, Delivery, Input, LinkId, Output};
use crate::config::Limits;
use crate::wire::strategies::{addr, frame, id};
use crate::wire::{Control, Hello, encode_control};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_frames_of_two_peers_are_survived(
        frames in proptest::collection::vec((0u8..2, frame(), any::<bool>()), 0..60),
    ) {
        let limits = Limits {
            flow_window_bytes: 64,
            session_bytes_max: 256,
            ..Limits::default()
        };
        let mut engine = engine(limits.clone());
        let mut now = Time::ZERO;
        let mut links: [Option<LinkId>; 2] = [None, None];
        let mut last_link = 0;
        for (peer, (class, bytes), consume) in frames {
            now = Time::from_micros(now.as_micros() + 20_000);
            let link = *links[peer as usize].get_or_insert_with(|| {
                last_link += 1;
                let link = LinkId(last_link);
                engine.handle(now, Input::LinkUp { link, peer: id(2 + peer), addr: addr() });
                let hello = Hello { epoch: Epoch(1), addr: addr(), window_bytes: 64, known: None, ways_over: 0 };
                let bytes = encode_control(&Control::Hello(hello));
                engine.handle(now, Input::Frame { link, class: Class::Control, bytes });
                link
            });
            engine.handle(now, Input::Frame { link, class, bytes });
            engine.handle(now, Input::Timeout);
            while let Some(output) = engine.poll_output() {
                match output {
                    Output::Close { link, .. } => {
                        for known in &mut links {
                            known.take_if(|known| *known == link);
                        }
                    }
                    Output::Deliver {
                        delivery: Delivery::Messages { ticket, batch, .. }, ..
                    } => {
                        prop_assert_eq!(batch.count() as usize, batch.into_messages().count());
                        if consume {
                            engine.handle(now, Input::Consumed { ticket });
                        }
                    }
                    Output::Deliver {
                        delivery: Delivery::Large { ticket, .. } | Delivery::Chunk { ticket, .. },
                        ..
                    } if consume => engine.handle(now, Input::Consumed { ticket }),
                    _ => {}
                }
            }
            // What waits to be safe counts as what waits to be taken.
            prop_assert!(engine.usage().early_bytes_max <= 4 * (limits.flow_window_bytes + (16 << 20) + 32));
        }
    }
}
