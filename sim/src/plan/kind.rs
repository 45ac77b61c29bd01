//! The kinds of faults, by which seeds draw them and reports list them.

use serde::{Deserialize, Serialize};

use super::{Breakage, CutShape, Fault, Harm, Manner};
use crate::scenario::Level;

/// The kinds of faults that a seed can draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// [`Breakage::Crash`] after which nobody takes the place.
    Crash,
    /// [`Breakage::Crash`] and a process with the same key.
    RestartSame,
    /// [`Breakage::Crash`] and a new node.
    RestartNew,
    /// [`Breakage::Leave`].
    Leave,
    /// [`Breakage::Join`].
    Join,
    /// [`Breakage::Pause`].
    Pause,
    /// [`Breakage::Drift`].
    Drift,
    /// [`Breakage::Jump`].
    Jump,
    /// [`CutShape::Complete`].
    CutComplete,
    /// [`CutShape::Partial`].
    CutPartial,
    /// [`CutShape::OneWay`].
    CutOneWay,
    /// [`CutShape::Isolate`].
    CutIsolate,
    /// [`CutShape::Flapping`].
    CutFlapping,
    /// [`CutShape::Ring`].
    CutRing,
    /// [`CutShape::Swizzle`].
    CutSwizzle,
    /// A cut of any shape that jams instead of losing.
    Jam,
    /// A cut of any shape that slows instead of losing.
    Crawl,
    /// [`Breakage::Reset`].
    Reset,
    /// [`Harm::Loss`].
    Loss,
    /// [`Harm::Burst`].
    Burst,
    /// [`Harm::Duplicate`].
    Duplicate,
    /// [`Harm::Reorder`].
    Reorder,
    /// [`Harm::Corrupt`].
    Corrupt,
    /// [`Harm::Truncate`].
    Truncate,
    /// [`Harm::Mtu`].
    Mtu,
    /// [`Breakage::Slow`].
    Slow,
    /// [`Breakage::Narrow`].
    Narrow,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [FaultKind; 27] = [
        FaultKind::Crash,
        FaultKind::RestartSame,
        FaultKind::RestartNew,
        FaultKind::Leave,
        FaultKind::Join,
        FaultKind::Pause,
        FaultKind::Drift,
        FaultKind::Jump,
        FaultKind::CutComplete,
        FaultKind::CutPartial,
        FaultKind::CutOneWay,
        FaultKind::CutIsolate,
        FaultKind::CutFlapping,
        FaultKind::CutRing,
        FaultKind::CutSwizzle,
        FaultKind::Jam,
        FaultKind::Crawl,
        FaultKind::Reset,
        FaultKind::Loss,
        FaultKind::Burst,
        FaultKind::Duplicate,
        FaultKind::Reorder,
        FaultKind::Corrupt,
        FaultKind::Truncate,
        FaultKind::Mtu,
        FaultKind::Slow,
        FaultKind::Narrow,
    ];

    /// The name under which reports list it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Crash => "crash",
            FaultKind::RestartSame => "restart_same",
            FaultKind::RestartNew => "restart_new",
            FaultKind::Leave => "leave",
            FaultKind::Join => "join",
            FaultKind::Pause => "pause",
            FaultKind::Drift => "drift",
            FaultKind::Jump => "jump",
            FaultKind::CutComplete => "cut_complete",
            FaultKind::CutPartial => "cut_partial",
            FaultKind::CutOneWay => "cut_one_way",
            FaultKind::CutIsolate => "cut_isolate",
            FaultKind::CutFlapping => "cut_flapping",
            FaultKind::CutRing => "cut_ring",
            FaultKind::CutSwizzle => "cut_swizzle",
            FaultKind::Jam => "jam",
            FaultKind::Crawl => "crawl",
            FaultKind::Reset => "reset",
            FaultKind::Loss => "loss",
            FaultKind::Burst => "burst",
            FaultKind::Duplicate => "duplicate",
            FaultKind::Reorder => "reorder",
            FaultKind::Corrupt => "corrupt",
            FaultKind::Truncate => "truncate",
            FaultKind::Mtu => "mtu",
            FaultKind::Slow => "slow",
            FaultKind::Narrow => "narrow",
        }
    }

    /// Whether anything can come of it at this level.
    #[must_use]
    pub fn acts_at(self, level: Level) -> bool {
        match self {
            FaultKind::Corrupt | FaultKind::Truncate | FaultKind::Mtu => level == Level::Quic,
            _ => true,
        }
    }
}

impl Fault {
    /// Of which kind it is; of two, if it is a cut that does more than lose what is sent.
    #[must_use]
    pub fn kinds(&self) -> (FaultKind, Option<FaultKind>) {
        let kind = match &self.what {
            Breakage::Crash { restart: None, .. } => FaultKind::Crash,
            Breakage::Crash {
                restart: Some(restart),
                ..
            } if restart.same_key => FaultKind::RestartSame,
            Breakage::Crash {
                restart: Some(_), ..
            } => FaultKind::RestartNew,
            Breakage::Leave { .. } => FaultKind::Leave,
            Breakage::Join { .. } => FaultKind::Join,
            Breakage::Pause { .. } => FaultKind::Pause,
            Breakage::Drift { .. } => FaultKind::Drift,
            Breakage::Jump { .. } => FaultKind::Jump,
            Breakage::Cut { shape, manner, .. } => return (shape.kind(), manner.kind()),
            Breakage::Reset { .. } => FaultKind::Reset,
            Breakage::Packets { harm, .. } => harm.kind(),
            Breakage::Slow { .. } => FaultKind::Slow,
            Breakage::Narrow { .. } => FaultKind::Narrow,
        };
        (kind, None)
    }
}

impl CutShape {
    fn kind(self) -> FaultKind {
        match self {
            CutShape::Complete => FaultKind::CutComplete,
            CutShape::Partial => FaultKind::CutPartial,
            CutShape::OneWay => FaultKind::CutOneWay,
            CutShape::Isolate => FaultKind::CutIsolate,
            CutShape::Flapping => FaultKind::CutFlapping,
            CutShape::Ring => FaultKind::CutRing,
            CutShape::Swizzle => FaultKind::CutSwizzle,
        }
    }
}

impl Manner {
    fn kind(self) -> Option<FaultKind> {
        match self {
            Manner::Drop => None,
            Manner::Jam => Some(FaultKind::Jam),
            Manner::Slow(_) => Some(FaultKind::Crawl),
        }
    }
}

impl Harm {
    fn kind(self) -> FaultKind {
        match self {
            Harm::Loss { .. } => FaultKind::Loss,
            Harm::Burst { .. } => FaultKind::Burst,
            Harm::Duplicate { .. } => FaultKind::Duplicate,
            Harm::Reorder { .. } => FaultKind::Reorder,
            Harm::Corrupt { .. } => FaultKind::Corrupt,
            Harm::Truncate { .. } => FaultKind::Truncate,
            Harm::Mtu { .. } => FaultKind::Mtu,
        }
    }
}
