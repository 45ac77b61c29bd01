//! What is promised to multicasts, as it stands in a replay line.

use rolecast_protocol::{Dissemination, Mode, Order};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a [`Mode`] is written; what a line does not name is as usual.
#[derive(Serialize, Deserialize)]
pub(super) struct ModeData {
    dissemination: Dissemination,
    #[serde(default, skip_serializing_if = "is_usual")]
    order: Order,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    k_safe: u8,
}

impl ModeData {
    pub(super) fn serialize<S: Serializer>(mode: &Mode, serializer: S) -> Result<S::Ok, S::Error> {
        let &Mode {
            dissemination,
            order,
            k_safe,
        } = mode;
        let data = ModeData {
            dissemination,
            order,
            k_safe,
        };
        Serialize::serialize(&data, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Mode, D::Error> {
        let ModeData {
            dissemination,
            order,
            k_safe,
        } = <ModeData as Deserialize>::deserialize(deserializer)?;
        Ok(Mode {
            dissemination,
            order,
            k_safe,
        })
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference over"
)]
fn is_usual(order: &Order) -> bool {
    *order == Order::default()
}

fn one() -> u8 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference over"
)]
fn is_one(k_safe: &u8) -> bool {
    *k_safe == 1
}
