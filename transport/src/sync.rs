//! Locks that are held for a moment only, never across an await.

use std::sync::{Mutex, MutexGuard};

/// Takes the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no code panics while it holds one of these locks")
}
