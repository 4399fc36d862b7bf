//! Waiting for a disk, but not for ever.
//!
//! A disk that hangs answers in half a minute or never. Whoever waits for it gives up after
//! `limits::DISK_PATIENCE`; what was begun cannot be called back, so it runs on by itself with all
//! that it holds (its buffer belongs to the disk until the disk answers), and its outcome is for
//! whoever let it run.

use std::io;
use std::pin::Pin;

use futures_lite::future;

use crate::limits;
use crate::reactor::Ground;

/// Waits for `operation`; gives it back, still running, when it takes too long.
pub(super) async fn patiently<G: Ground, F: Future>(
    ground: &G,
    mut operation: Pin<Box<F>>,
) -> Result<F::Output, Pin<Box<F>>> {
    let answered = async { Some(operation.as_mut().await) };
    let tired = async {
        ground.sleep(limits::DISK_PATIENCE).await;
        None
    };
    // The operation is polled first, so it has begun before the clock is set.
    let answer = future::or(answered, tired).await;
    answer.ok_or(operation)
}

/// What stands for the answer that did not come.
pub(super) fn no_answer() -> io::Error {
    let text = format!(
        "the disk has not answered for {} s",
        limits::DISK_PATIENCE.as_secs()
    );
    io::Error::new(io::ErrorKind::TimedOut, text)
}
