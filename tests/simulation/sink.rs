//! A simulated sink: delivers into the judge's hands, and fails, hangs or answers late as planned.

use std::rc::Rc;
use std::time::Duration;

use flumen::channel::Consumer;
use flumen::reactor::Ground;
use flumen::reactor::simulated::SimulatedWorld;
use flumen::sink::{Sink, SinkError, Status};

use crate::judge::Judge;
use crate::plan::SinkPlan;

/// One sink of one consumer group.
pub struct SimulatedSink {
    pub world: SimulatedWorld,
    pub group: usize,
    pub plan: SinkPlan,
    pub judge: Rc<Judge>,
    /// The last life: everything works.
    pub healed: bool,
}

impl Sink for SimulatedSink {
    async fn start(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn process(&mut self, consumer: &Consumer) -> Result<Status, SinkError> {
        let Some(transaction) = consumer.take(self.plan.batch).await? else {
            return Ok(Status::Backoff);
        };
        let dice = self.world.dice();
        let strikes = |rate: u32| !self.healed && dice.chance(rate);
        if strikes(self.plan.hangs) {
            let hang = Duration::from_millis(dice.between(1_000, 30_000));
            self.world.sleep(hang).await;
        }
        if strikes(self.plan.fails) {
            return Ok(Status::Failed);
        }
        let half = strikes(self.plan.fails_half_way);
        let until = if half {
            transaction.event_count() / 2
        } else {
            transaction.event_count()
        };
        for event in transaction.iter().take(until) {
            let event = event.expect("its checksum held");
            self.judge.arrived(self.group, event.body());
        }
        // The target has it; the answer is on its way.
        if dice.chance(300) {
            let latency = Duration::from_millis(dice.between(1, 20));
            self.world.sleep(latency).await;
        }
        if half || strikes(self.plan.answers_wrongly) {
            return Ok(Status::Failed);
        }
        transaction.commit();
        Ok(Status::Ready)
    }

    async fn stop(&mut self) {}
}
