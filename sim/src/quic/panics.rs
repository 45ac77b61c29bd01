//! Panics in the tasks of a simulation, which tokio would keep to itself.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

use crate::run::said;

thread_local! {
    /// What panicked on this thread since somebody wants to know.
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Hears every panic of the present thread until it is dropped.
#[derive(Debug)]
pub(crate) struct Listening(());

impl Listening {
    /// Starts to listen; only one at a time on each thread.
    pub(crate) fn start() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            let others = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                let said = said(info.payload());
                let place = info
                    .location()
                    .map(|at| format!(" ({}:{})", at.file(), at.line()));
                let heard = format!("{said}{}", place.unwrap_or_default());
                let listening = HEARD
                    .with_borrow_mut(|list| list.as_mut().map(|list| list.push(heard)).is_some());
                if !listening {
                    others(info);
                }
            }));
        });
        HEARD.set(Some(Vec::new()));
        Listening(())
    }

    /// The first panic since it listens, if there was one.
    pub(crate) fn first(&self) -> Option<String> {
        HEARD.with_borrow(|list| list.as_ref()?.first().cloned())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        HEARD.set(None);
    }
}
