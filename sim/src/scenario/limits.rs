//! The engine's settings as they stand in a replay line.

use std::time::Duration;

use rolecast_membership::Profile;
use rolecast_protocol::Limits;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a [`Profile`] is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ProfileData {
    Local,
    Lan,
    Wan,
    Fast,
}

/// How [`Limits`] are written; what a line does not name has its usual value.
#[derive(Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LimitsData {
    payload_bytes_max: usize,
    large_bytes_min: usize,
    large_bytes_max: u64,
    flow_window_bytes: usize,
    session_bytes_max: usize,
    replay_bytes: usize,
    link_bytes_max: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    links_max: Option<usize>,
    link_idle_us: u64,
    inbox_bytes_max: usize,
    calls_max: usize,
    gap_after_us: u64,
    forget_after_us: u64,
}

impl ProfileData {
    pub(super) fn serialize<S: Serializer>(
        profile: &Profile,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let data = match profile {
            Profile::Local => ProfileData::Local,
            Profile::Lan => ProfileData::Lan,
            Profile::Wan => ProfileData::Wan,
            Profile::Fast => ProfileData::Fast,
        };
        Serialize::serialize(&data, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Profile, D::Error> {
        Ok(
            match <ProfileData as Deserialize>::deserialize(deserializer)? {
                ProfileData::Local => Profile::Local,
                ProfileData::Lan => Profile::Lan,
                ProfileData::Wan => Profile::Wan,
                ProfileData::Fast => Profile::Fast,
            },
        )
    }
}

impl LimitsData {
    pub(super) fn serialize<S: Serializer>(
        limits: &Limits,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Serialize::serialize(&LimitsData::from(limits), serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Limits, D::Error> {
        let data = <LimitsData as Deserialize>::deserialize(deserializer)?;
        Ok(Limits {
            payload_bytes_max: data.payload_bytes_max,
            large_bytes_min: data.large_bytes_min,
            large_bytes_max: data.large_bytes_max,
            flow_window_bytes: data.flow_window_bytes,
            session_bytes_max: data.session_bytes_max,
            replay_bytes: data.replay_bytes,
            link_bytes_max: data.link_bytes_max,
            links_max: data.links_max.unwrap_or(usize::MAX),
            link_idle: Duration::from_micros(data.link_idle_us),
            inbox_bytes_max: data.inbox_bytes_max,
            calls_max: data.calls_max,
            gap_after: Duration::from_micros(data.gap_after_us),
            forget_after: Duration::from_micros(data.forget_after_us),
        })
    }
}

impl From<&Limits> for LimitsData {
    fn from(limits: &Limits) -> Self {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        LimitsData {
            payload_bytes_max: limits.payload_bytes_max,
            large_bytes_min: limits.large_bytes_min,
            large_bytes_max: limits.large_bytes_max,
            flow_window_bytes: limits.flow_window_bytes,
            session_bytes_max: limits.session_bytes_max,
            replay_bytes: limits.replay_bytes,
            link_bytes_max: limits.link_bytes_max,
            links_max: Some(limits.links_max).filter(|&max| max != usize::MAX),
            link_idle_us: micros(limits.link_idle),
            inbox_bytes_max: limits.inbox_bytes_max,
            calls_max: limits.calls_max,
            gap_after_us: micros(limits.gap_after),
            forget_after_us: micros(limits.forget_after),
        }
    }
}

impl Default for LimitsData {
    fn default() -> Self {
        LimitsData::from(&Limits::default())
    }
}
