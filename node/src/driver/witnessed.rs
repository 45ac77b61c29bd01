//! What passes between the driver and its engine, shown to whoever watches in a simulation.
//!
//! Without the feature `simulation` nobody can watch, and nothing of this is left in the program.

use rolecast_protocol::Engine;

use crate::simulation::Sight;
#[cfg(feature = "simulation")]
use crate::simulation::Witness;

/// Who watches, if anybody does.
#[derive(Default)]
pub(crate) struct Witnessed {
    #[cfg(feature = "simulation")]
    by: Option<Box<dyn Witness>>,
}

impl Witnessed {
    #[cfg(feature = "simulation")]
    pub(crate) fn by(witness: Option<Box<dyn Witness>>) -> Self {
        Witnessed { by: witness }
    }

    /// Whether anybody watches.
    #[cfg(feature = "simulation")]
    pub(crate) fn is_watched(&self) -> bool {
        self.by.is_some()
    }

    /// Nobody watches.
    #[cfg(not(feature = "simulation"))]
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        false
    }

    /// Shows what passed.
    #[cfg(feature = "simulation")]
    pub(crate) fn saw<'a>(&mut self, engine: &Engine, sight: impl FnOnce() -> Sight<'a>) {
        if let Some(witness) = &mut self.by {
            witness.saw(engine, sight());
        }
    }

    /// Nobody watches.
    #[cfg(not(feature = "simulation"))]
    #[inline]
    pub(crate) fn saw<'a>(&mut self, _: &Engine, _: impl FnOnce() -> Sight<'a>) {}
}
