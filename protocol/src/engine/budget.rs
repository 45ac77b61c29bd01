//! What is kept of all flows together: each flow has bounds of its own, and a peer may speak of many flows.

use super::Engine;
use crate::flow_in::FlowIn;

/// What is kept of all flows for other members, in bytes.
const RETAINED_BYTES_MAX: usize = 512 << 20;
/// What came too early in all flows, in bytes.
const EARLY_BYTES_MAX: usize = 256 << 20;
/// The destination sets of all flows, in bytes.
const DEST_SETS_BYTES_MAX: usize = 256 << 20;

impl Engine {
    /// Sees to it that what is kept of all flows together is not too much, at the cost of those of which most is kept.
    pub(super) fn bound_flows(&mut self) {
        self.bound(
            RETAINED_BYTES_MAX,
            |flow| flow.retained.bytes(),
            |flow, max| flow.retained.shrink_to(max),
        );
        self.bound(
            EARLY_BYTES_MAX,
            FlowIn::early_bytes,
            FlowIn::shrink_early_to,
        );
        self.bound(
            DEST_SETS_BYTES_MAX,
            FlowIn::dest_sets_bytes,
            FlowIn::shrink_dest_sets_to,
        );
    }

    fn bound(
        &mut self,
        bytes_max: usize,
        kept: impl Fn(&FlowIn) -> usize,
        shrink: impl Fn(&mut FlowIn, usize),
    ) {
        let total: usize = self.flows_in.values().map(&kept).sum();
        if total <= bytes_max {
            return;
        }
        let fair = fair_share(self.flows_in.values().map(&kept).collect(), bytes_max);
        for flow in self.flows_in.values_mut() {
            if kept(flow) > fair {
                shrink(flow, fair);
            }
        }
    }
}

/// The largest share that everybody may have so that nobody needs give up anything below it and all together have no more than `total`.
fn fair_share(mut wanted: Vec<usize>, total: usize) -> usize {
    wanted.sort_unstable();
    let mut left = total;
    for (index, &wants) in wanted.iter().enumerate() {
        let share = left / (wanted.len() - index);
        if wants > share {
            return share;
        }
        left -= wants;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_little_gives_up_nothing() {
        let share = |wanted: &[usize], total| fair_share(wanted.to_vec(), total);
        assert_eq!(share(&[], 10), usize::MAX);
        assert_eq!(share(&[4, 6], 10), usize::MAX);
        assert_eq!(share(&[2, 6, 100], 10), 4);
        assert_eq!(share(&[1, 100], 10), 9);
        assert_eq!(share(&[5, 5, 5], 9), 3);
    }
}
