//! Housekeeping of a log: released segments become spares, and free space and failed directories are
//! looked at.
//!
//! A part of the appender, on the shard's thread, beside the committer. Always true: a disk that hangs
//! holds up its own files and no others.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::Inner;
use crate::channel::put::PutError;
use crate::channel::wal::shared::SegmentInfo;
use crate::reactor::Ground;

/// How often segments are recycled and free space is looked at.
const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(100);
/// A channel without a healthy directory looks for one this often.
const RETRY_EVERY: Duration = Duration::from_secs(1);

impl<G: Ground> Inner<G> {
    /// Recycles released segments, keeps a spare one, watches the free space.
    pub(super) async fn keep_house(self: Rc<Self>) {
        let mut retry_at = Duration::ZERO;
        let mut released = Vec::new();
        let spares_cared_for = Rc::new(Cell::new(true));
        while !self.state.borrow().committer_ended {
            self.ground.sleep(HOUSEKEEPING_EVERY).await;
            // A disk that hangs holds up its own files and no others: each has a task of its own.
            released.extend(self.shared.take_released());
            let answers = |segment: &mut SegmentInfo| !self.segments.hangs(&segment.path);
            for segment in released.extract_if(.., answers) {
                let segments = Rc::clone(&self.segments);
                self.ground
                    .spawn(async move { segments.recycle(segment).await });
            }
            if spares_cared_for.replace(false) {
                let (house, done) = (Rc::clone(&self), Rc::clone(&spares_cared_for));
                let trims = self.ground.now() >= retry_at;
                self.ground.spawn(async move {
                    house.care_for_spares(trims).await;
                    done.set(true);
                });
            }
            let now = self.ground.now();
            {
                let mut meters = self.meters.borrow_mut();
                meters.flush_latency.publish(now);
                meters.block_bytes.publish(now);
            }
            if now >= retry_at {
                retry_at = now + RETRY_EVERY;
                self.look_for_trouble();
            }
        }
    }

    async fn care_for_spares(&self, trims: bool) {
        if trims {
            self.segments.trim_spares().await;
        }
        let spares = self.segments.spare_count() as u64;
        self.meters.borrow().gauges.spare_segment_count.set(spares);
        if let Err(error) = self.segments.prepare_spare(1).await {
            tracing::debug!(
                "channel {}: no spare segment: {error}",
                self.admission.channel
            );
        }
    }

    /// Begins or ends the refusal of batches for want of space or of a healthy directory.
    fn look_for_trouble(&self) {
        let required_bytes = self.segments.plan().minimum_required_space;
        let low = self.segments.look_for_room();
        let refusal = self.state.borrow().refusal.clone();
        match (low, refusal) {
            (Some((directory, free_bytes)), None) => {
                let refusal = PutError::NoSpace {
                    channel: Rc::clone(&self.admission.channel),
                    directory: directory.display().to_string(),
                    free_bytes,
                    required_bytes,
                };
                tracing::error!("{refusal}; batches are answered FAILED until there is room");
                self.state.borrow_mut().refusal = Some(refusal);
            }
            (Some(_), Some(_)) | (None, None) => {}
            (None, Some(_)) => {
                // The committer owns the active segment, so it opens the new one.
                self.state.borrow_mut().probe = true;
                self.filled.notify_one();
            }
        }
    }

    /// Looks whether batches can be stored again.
    pub(super) async fn probe(&self) {
        match self.room_in_segment(self.block_bytes()).await {
            Ok(()) => {
                self.state.borrow_mut().refusal = None;
                tracing::info!("channel {} takes batches again", self.admission.channel);
            }
            Err(error) => tracing::warn!("channel {}: {error}", self.admission.channel),
        }
    }
}
