//! The two things outside its memory and target that a file-writing sink needs: the wall clock, for
//! names, and randomness, for sync markers. Taken from a [`Ground`], or fixed by a test.

use std::rc::Rc;

use crate::reactor::Ground;

/// Wall clock and randomness of one drain thread.
#[derive(Clone)]
pub struct Outside {
    wall_ms: Rc<dyn Fn() -> u64>,
    random: Rc<dyn Fn() -> u64>,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

impl Outside {
    /// Reads them from `world`.
    pub fn of<G: Ground>(world: &G) -> Self {
        let (clock, dice) = (world.clone(), world.clone());
        Self::new(move || clock.wall_ms(), move || dice.random())
    }

    /// Reads them from two functions.
    pub fn new(wall_ms: impl Fn() -> u64 + 'static, random: impl Fn() -> u64 + 'static) -> Self {
        Self {
            wall_ms: Rc::new(wall_ms),
            random: Rc::new(random),
        }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        (self.wall_ms)()
    }

    /// 16 random bytes: the sync marker of one file.
    #[must_use]
    pub fn sync_marker(&self) -> [u8; 16] {
        let mut marker = [0; 16];
        let (front, back) = marker.split_at_mut(8);
        front.copy_from_slice(&(self.random)().to_be_bytes());
        back.copy_from_slice(&(self.random)().to_be_bytes());
        marker
    }
}
