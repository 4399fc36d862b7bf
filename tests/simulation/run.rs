//! One run: a box, its clients, its lives, and the judgement.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use flumen::reactor::Defence;
use flumen::reactor::simulated::{Dice, Faults, SimulatedWorld, Site};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::collector::{Collector, address, checkpoint_dir, data_dirs};
use crate::judge::Judge;
use crate::plan::{Life, Plan, Vandal};

/// How long a healed box may take to deliver everything.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Equal for two runs of one seed.
    pub digest: u64,
    /// Acknowledged, delivered and repeated events over all groups, and events that faults took.
    pub totals: [u64; 4],
    /// Why the promise is broken, if it is.
    pub violation: Option<String>,
}

/// Plays the run of `seed` on a collector that lacks `lacks`.
pub fn play(seed: u64, lacks: &[Defence]) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without drivers");
    let clients = LocalSet::new();
    let run = async {
        let plan = Plan::of(seed);
        let world = SimulatedWorld::new(Site {
            seed,
            bounds: plan.bounds,
            lacks: lacks.to_vec(),
        });
        let run = Run::new(seed, plan, world);
        let stuck = run.live().await.err();
        let violation = stuck.or_else(|| run.judge.verdict(run.plan.keeps_order()));
        // Breaks what holds itself alive.
        run.world.crash();
        Outcome {
            digest: run.judge.digest(),
            totals: run.judge.totals(),
            violation,
        }
    };
    runtime.block_on(clients.run_until(run))
}

struct Run {
    plan: Plan,
    world: SimulatedWorld,
    judge: Rc<Judge>,
    busy: Rc<Cell<usize>>,
    /// What checkpoint files held before, for who restores old ones.
    old_checkpoints: std::cell::RefCell<Vec<(PathBuf, Vec<u8>)>>,
}

impl Run {
    fn new(seed: u64, plan: Plan, world: SimulatedWorld) -> Self {
        for directory in data_dirs(plan.data_dirs) {
            world.disk().set_capacity(&directory, plan.disk_bytes);
        }
        let judge = Rc::new(Judge::new(plan.groups.len()));
        let told = Rc::clone(&judge);
        world
            .disk()
            .on_damage(Box::new(move |damage| told.damaged(damage)));
        let busy = Rc::new(Cell::new(plan.clients.len()));
        for (number, client) in plan.clients.iter().enumerate() {
            let number = u32::try_from(number).expect("a few clients");
            let client = Client {
                number,
                plan: *client,
                dice: Dice::new(seed.wrapping_add(u64::from(number) << 32)),
                network: Rc::clone(world.network()),
                address: address(),
                judge: Rc::clone(&judge),
                busy: Rc::clone(&busy),
            };
            spawn_local(client.run());
        }
        Self {
            plan,
            world,
            judge,
            busy,
            old_checkpoints: std::cell::RefCell::default(),
        }
    }

    /// All lives. An error is a box that does not come to rest.
    async fn live(&self) -> Result<(), String> {
        for life in &self.plan.lives {
            self.world.set_faults(life.faults);
            let box_on = LocalSet::new();
            let lived = box_on.run_until(self.one_life(life));
            // A start that failed leaves the box off for a while, as a supervisor does.
            match timeout(life.length, lived).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(_refused)) => sleep(Duration::from_millis(100)).await,
            }
            self.world.crash();
            drop(box_on);
            self.between_lives(life);
        }
        self.world.set_faults(Faults::default());
        let last = Life {
            faults: Faults::default(),
            ..self.plan.lives[0]
        };
        let box_on = LocalSet::new();
        let progress = std::cell::RefCell::new(String::new());
        let rested = box_on.run_until(async {
            let (world, judge) = (&self.world, &self.judge);
            let collector = Collector::start(world, &self.plan, &last, judge, true).await;
            let collector = collector.map_err(|error| format!("does not start: {error}"))?;
            while self.busy.get() > 0 || !collector.is_drained() {
                *progress.borrow_mut() = collector.progress();
                sleep(Duration::from_millis(20)).await;
            }
            collector.stop().await;
            Ok(())
        });
        let rested = timeout(PATIENCE, rested).await;
        rested.unwrap_or_else(|_| {
            Err(format!(
                "not at rest after {} s: {} clients wait; {}",
                PATIENCE.as_secs(),
                self.busy.get(),
                progress.borrow()
            ))
        })
    }

    async fn one_life(&self, life: &Life) -> Result<(), String> {
        let (world, judge) = (&self.world, &self.judge);
        let collector = Collector::start(world, &self.plan, life, judge, false).await?;
        if life.dead_disk {
            let directories = data_dirs(self.plan.data_dirs);
            let dies = &directories[world.dice().index(directories.len())];
            sleep(life.length / 4).await;
            world.disk().set_dead(dies, true);
            sleep(life.length / 4).await;
            world.disk().set_dead(dies, false);
        }
        if !life.orderly {
            std::future::pending::<()>().await;
        }
        sleep(life.length / 2).await;
        collector.stop().await;
        Ok(())
    }

    /// What happens to the disks while the box is off.
    fn between_lives(&self, life: &Life) {
        let (disk, dice) = (self.world.disk(), self.world.dice());
        for directory in data_dirs(self.plan.data_dirs) {
            disk.set_dead(&directory, false);
        }
        let paths = disk.paths();
        let segments: Vec<&PathBuf> = paths
            .iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
            .collect();
        for _ in 0..life.rot {
            if !segments.is_empty() {
                let path = segments[dice.index(segments.len())];
                let bytes = disk.content(path).map_or(0, |content| content.len());
                disk.rot(path, dice.index(bytes.max(1)));
            }
        }
        let checkpoints: Vec<PathBuf> = paths
            .iter()
            .filter(|path| path.parent() == Some(&checkpoint_dir()))
            .cloned()
            .collect();
        if let Some(vandal) = life.vandal.filter(|_| !checkpoints.is_empty()) {
            self.vandalise(vandal, &checkpoints);
        }
        let now = checkpoints.iter();
        let now = now.filter_map(|path| Some((path.clone(), disk.content(path)?)));
        self.old_checkpoints.borrow_mut().extend(now);
    }

    fn vandalise(&self, vandal: Vandal, checkpoints: &[PathBuf]) {
        let (disk, dice) = (self.world.disk(), self.world.dice());
        let one = &checkpoints[dice.index(checkpoints.len())];
        let content = disk.content(one).unwrap_or_default();
        match vandal {
            Vandal::DeletesOne => drop(disk.take(one)),
            Vandal::DeletesBoth => checkpoints.iter().for_each(|path| drop(disk.take(path))),
            Vandal::RestoresOld => {
                let old = self.old_checkpoints.borrow();
                if !old.is_empty() {
                    checkpoints.iter().for_each(|path| drop(disk.take(path)));
                    let (path, content) = &old[dice.index(old.len())];
                    disk.put(path, content.clone());
                }
            }
            Vandal::Truncates => {
                let kept = dice.index(content.len() + 1);
                disk.put(one, content[..kept].to_vec());
            }
            Vandal::FlipsBit => {
                let mut flipped = content;
                if !flipped.is_empty() {
                    let at = dice.index(flipped.len());
                    flipped[at] ^= 1 << dice.below(8);
                }
                disk.put(one, flipped);
            }
        }
    }
}
