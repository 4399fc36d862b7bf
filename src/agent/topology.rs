//! Which core does what, and on which runtime.
//!
//! Computed once at start from the process's affinity mask. Shards and drains have cores of their own
//! when there are enough. On one or two cores they share with everything else, and the scheduler does
//! better than a pin: unpinned, 4 × 1,000 had half the p99 there.

use std::collections::BTreeMap;

/// What the ingest shards run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runtime {
    /// A ring of our own.
    Ring,
    /// A glommio executor.
    Glommio,
}

impl Runtime {
    fn choose(properties: &BTreeMap<String, String>) -> Result<Self, String> {
        match properties.get("flumen.reactor").map(|text| text.trim()) {
            None | Some("ring") => Ok(Self::Ring),
            Some("glommio") => Ok(Self::Glommio),
            Some(text) => Err(format!(
                "-Dflumen.reactor={text}: ring or glommio is needed"
            )),
        }
    }
}

/// Threads of the two planes, each with the core it is pinned to, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topology {
    pub(super) shards: Vec<Option<usize>>,
    pub(super) drains: Vec<Option<usize>>,
    pub(super) runtime: Runtime,
}

impl Topology {
    /// From the cores this process may use, and `flumen.shards` and `flumen.drainThreads`.
    pub(super) fn choose(properties: &BTreeMap<String, String>) -> Result<Self, String> {
        let cores: Vec<usize> = core_affinity::get_core_ids()
            .unwrap_or_default()
            .iter()
            .map(|core| core.id)
            .collect();
        let pin = match properties
            .get("flumen.pin")
            .map(|text| text.trim().to_lowercase())
        {
            None => None,
            Some(text) if text == "true" => Some(true),
            Some(text) if text == "false" => Some(false),
            Some(text) => return Err(format!("-Dflumen.pin={text}: true or false is needed")),
        };
        let shards = count(properties, "flumen.shards")?;
        let drains = count(properties, "flumen.drainThreads")?;
        let runtime = Runtime::choose(properties)?;
        Ok(Self::plan(&cores, shards, drains, pin, runtime))
    }

    fn plan(
        cores: &[usize],
        shards: Option<usize>,
        drains: Option<usize>,
        pin: Option<bool>,
        runtime: Runtime,
    ) -> Self {
        let core_count = cores.len().max(1);
        // A sink spends more per event than a shard does, but most of that in its client's threads.
        let drain_count = drains.unwrap_or((core_count / 4).max(1));
        let shard_count = shards.unwrap_or(core_count.saturating_sub(drain_count).max(1));
        let pinned = pin.unwrap_or(core_count > 2) && shard_count + drain_count <= cores.len();
        let core = |index: usize| pinned.then(|| cores[index]);
        Self {
            shards: (0..shard_count).map(core).collect(),
            drains: (shard_count..shard_count + drain_count).map(core).collect(),
            runtime,
        }
    }
}

fn count(properties: &BTreeMap<String, String>, key: &str) -> Result<Option<usize>, String> {
    let Some(text) = properties.get(key) else {
        return Ok(None);
    };
    match text.trim().parse() {
        Ok(count) if (1..=256).contains(&count) => Ok(Some(count)),
        _ => Err(format!("-D{key}={text}: a number from 1 to 256 is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_have_cores_of_their_own_when_there_are_enough() {
        let eight: Vec<usize> = (0..8).collect();
        let plan = Topology::plan(&eight, None, None, None, Runtime::Ring);
        assert_eq!(plan.shards.len(), 6);
        assert_eq!(plan.drains, [Some(6), Some(7)]);
        let pinned = Topology::plan(&[3, 5], None, None, Some(true), Runtime::Ring);
        assert_eq!(
            (pinned.shards, pinned.drains),
            (vec![Some(3)], vec![Some(5)])
        );
    }

    #[test]
    fn more_threads_than_cores_are_not_pinned() {
        assert_eq!(
            Topology::plan(&[0], None, None, None, Runtime::Ring).shards,
            [None]
        );
        assert_eq!(
            Topology::plan(&[0, 1], None, None, None, Runtime::Ring).shards,
            [None]
        );
        assert_eq!(
            Topology::plan(&[0, 1], Some(4), None, None, Runtime::Ring).shards,
            [None; 4]
        );
    }
}
