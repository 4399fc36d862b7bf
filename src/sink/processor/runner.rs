//! Runs a sink until it is told to stop: Flume's sink runner.
//!
//! One runner is one task on a drain thread; it owns its processor and with it the sinks. A sink is
//! never given up: whatever it returns, it is called again.
//!
//! Where Flume's runner polls an empty channel every one to five seconds, this one sleeps until the
//! channel has events or the sink's next timer is due, so an idle collector is idle.

use std::error::Error;
use std::fmt::Write as _;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use super::backoff::Backoff;
use super::default::SinkProcessor;
use crate::channel::Consumer;
use crate::sink::{SinkError, Status};

/// How long after a failed start the next is tried, as Flume's supervisor does.
const START_RETRY: Duration = Duration::from_secs(3);
/// From the first event of an idle channel to the take.
const WAKE_COALESCE: Duration = Duration::from_millis(1);
/// A busy sink's timers are looked at this often.
const TICK_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// Drives one processor.
#[derive(Debug)]
pub struct SinkRunner<P> {
    processor: P,
    consumer: Consumer,
    stop: watch::Receiver<bool>,
    stop_deadline: Duration,
    backoff: Backoff,
    next_tick: Instant,
}

/// What the runner does after a call of the processor.
enum Turn {
    /// Call again at once.
    Again,
    /// Wait for events, or for the sink's timer.
    Idle,
    /// Wait this long: the target failed.
    Wait(Duration),
    /// The stop signal came.
    Stop,
}

impl<P: SinkProcessor> SinkRunner<P> {
    /// A runner that ends once `stop` holds true (or its sender is gone). The call under way then has
    /// `stop_deadline` to finish; what it has not delivered goes back to the channel.
    #[must_use]
    pub fn new(
        processor: P,
        consumer: Consumer,
        stop: watch::Receiver<bool>,
        stop_deadline: Duration,
    ) -> Self {
        Self {
            processor,
            consumer,
            stop,
            stop_deadline,
            backoff: Backoff::default(),
            next_tick: Instant::now(),
        }
    }

    /// Starts the sink, runs it, stops it. Returns after the sink has stopped.
    pub async fn run(mut self) {
        if self.start().await {
            self.serve().await;
        }
        if timeout(self.stop_deadline, self.processor.stop())
            .await
            .is_err()
        {
            warn!(
                thread = P::THREAD,
                "Sink {} did not stop within {} ms; what it had not delivered stays in the channel",
                self.names(),
                self.stop_deadline.as_millis()
            );
        }
    }

    /// Calls the processor until the stop signal comes.
    async fn serve(&mut self) {
        loop {
            match self.turn().await {
                Turn::Again => tokio::task::yield_now().await,
                Turn::Idle => self.idle().await,
                Turn::Wait(duration) => {
                    tokio::select! {
                        biased;
                        () = sleep(duration) => {}
                        () = stopped(&mut self.stop) => {}
                    }
                }
                Turn::Stop => return,
            }
        }
    }

    /// Tries until the sink has started; false if the stop signal came first.
    async fn start(&mut self) -> bool {
        for name in self.processor.sink_names() {
            info!("Starting Sink {name}");
        }
        loop {
            let outcome = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return false,
                outcome = self.processor.start() => outcome,
            };
            let Err(failure) = outcome else {
                return true;
            };
            error!(
                thread = P::THREAD,
                "Unable to start sink {} - Exception follows.{}",
                self.names(),
                chain(&failure)
            );
            tokio::select! {
                biased;
                () = sleep(START_RETRY) => {}
                () = stopped(&mut self.stop) => return false,
            }
        }
    }

    async fn turn(&mut self) -> Turn {
        if *self.stop.borrow() {
            return Turn::Stop;
        }
        let outcome = self.process().await;
        let turn = match outcome {
            None => return Turn::Stop,
            Some(Ok(Status::Ready)) => {
                self.backoff.reset();
                Turn::Again
            }
            Some(Ok(Status::Backoff)) => {
                self.backoff.reset();
                Turn::Idle
            }
            Some(Ok(Status::Failed)) => Turn::Wait(self.backoff.after_failure()),
            Some(Err(failure)) => {
                report(P::THREAD, &failure);
                Turn::Wait(self.backoff.after_error())
            }
        };
        // An idle runner looks at the timers before it sleeps.
        if !matches!(turn, Turn::Idle) && self.next_tick <= Instant::now() {
            self.tick().await;
        }
        turn
    }

    /// One call of the processor; none if the stop signal came. The call that is under way then may
    /// finish within the deadline.
    async fn process(&mut self) -> Option<Result<Status, SinkError>> {
        let mut call = pin!(self.processor.process(&self.consumer));
        tokio::select! {
            biased;
            outcome = &mut call => return Some(outcome),
            () = stopped(&mut self.stop) => {}
        }
        match timeout(self.stop_deadline, call).await {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => report(P::THREAD, &failure),
            Err(_) => warn!(
                thread = P::THREAD,
                "A transaction was still under way {} ms after the stop signal; its events stay in \
                 the channel",
                self.stop_deadline.as_millis()
            ),
        }
        None
    }

    async fn tick(&mut self) {
        let wanted = self.processor.tick().await.unwrap_or(TICK_INTERVAL_MAX);
        self.next_tick = Instant::now() + wanted.min(TICK_INTERVAL_MAX);
    }

    /// Waits for events, the stop signal or the sink's timer.
    async fn idle(&mut self) {
        loop {
            let wanted = self.processor.tick().await;
            let deadline = wanted.map(|wanted| Instant::now() + wanted);
            let timer = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // A channel under load commits thousands of small blocks a second. One wake for all that
                // come within a millisecond leaves the cores to those who send.
                () = self.consumer.wait() => return sleep(WAKE_COALESCE).await,
                () = stopped(&mut self.stop) => return,
                () = timer => {}
            }
        }
    }

    fn names(&self) -> String {
        self.processor.sink_names().join(", ")
    }
}

/// Returns once the stop signal has come.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: nobody could stop us any more, so stop now.
    drop(stop.wait_for(|stop| *stop).await);
}

fn report(thread: &'static str, failure: &SinkError) {
    error!(
        thread,
        "Unable to deliver event. Exception follows.{}",
        chain(failure)
    );
}

/// The error and its causes, one a line, as a Java trace names them.
fn chain(failure: &SinkError) -> String {
    let mut text = format!("\n{failure}");
    let mut cause = failure.source();
    while let Some(error) = cause {
        write!(text, "\nCaused by: {error}").expect("writing to a String cannot fail");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;
    use crate::sink::Sink;
    use crate::sink::processor::DefaultSinkProcessor;

    /// What a scripted sink does when it is called.
    #[derive(Clone, Copy)]
    enum Play {
        Return(Status),
        Fail,
        Hang,
    }

    /// Calls, each with the second at which it came.
    type Calls = Rc<RefCell<Vec<(&'static str, u64)>>>;

    struct Scripted {
        origin: Instant,
        starts_that_fail: u32,
        plays: Vec<Play>,
        tick_after: Option<Duration>,
        calls: Calls,
    }

    impl Scripted {
        fn note(&self, call: &'static str) {
            let second = self.origin.elapsed().as_secs();
            self.calls.borrow_mut().push((call, second));
        }
    }

    fn failure() -> SinkError {
        SinkError::Delivery {
            what: "the target is gone".to_owned(),
            source: None,
        }
    }

    impl Sink for Scripted {
        async fn start(&mut self) -> Result<(), SinkError> {
            self.note("start");
            match self.starts_that_fail {
                0 => Ok(()),
                _ => {
                    self.starts_that_fail -= 1;
                    Err(failure())
                }
            }
        }

        async fn process(&mut self, _: &Consumer) -> Result<Status, SinkError> {
            self.note("process");
            match self.plays.pop() {
                None => Ok(Status::Backoff),
                Some(Play::Return(status)) => Ok(status),
                Some(Play::Fail) => Err(failure()),
                Some(Play::Hang) => std::future::pending().await,
            }
        }

        async fn tick(&mut self) -> Option<Duration> {
            if self.tick_after.is_some() {
                self.note("tick");
            }
            self.tick_after
        }

        async fn stop(&mut self) {
            self.note("stop");
        }
    }

    /// Runs a sink that does `plays`, then finds nothing. Events come at `event_at`, the stop signal at
    /// `stop_at`.
    fn check(
        starts_that_fail: u32,
        plays: &[Play],
        tick_after: Option<Duration>,
        event_at: Option<u64>,
        stop_at: u64,
        expected: &[(&'static str, u64)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let calls = Calls::default();
            let scripted = Scripted {
                origin: Instant::now(),
                starts_that_fail,
                plays: plays.iter().rev().copied().collect(),
                tick_after,
                calls: Rc::clone(&calls),
            };
            let more = Arc::new(Notify::new());
            let consumer = Consumer::new(Vec::new(), Arc::clone(&more));
            let (stop, stopped) = watch::channel(false);
            let processor = DefaultSinkProcessor::new("k1", scripted);
            let runner = SinkRunner::new(processor, consumer, stopped, Duration::from_secs(7));
            let world = async {
                if let Some(at) = event_at {
                    sleep(Duration::from_secs(at)).await;
                    more.notify_one();
                }
                sleep(Duration::from_secs(stop_at - event_at.unwrap_or(0))).await;
                stop.send(true).unwrap();
            };
            tokio::join!(runner.run(), world);
            assert_eq!(*calls.borrow(), expected);
        });
    }

    #[test]
    fn idle_runner_sleeps_until_events_come() {
        let expected = [
            ("start", 0),
            ("process", 0),
            ("process", 3_600),
            ("stop", 7_200),
        ];
        check(0, &[], None, Some(3_600), 7_200, &expected);
    }

    #[test]
    fn ready_calls_again_at_once() {
        let ready = Play::Return(Status::Ready);
        let expected = [
            ("start", 0),
            ("process", 0),
            ("process", 0),
            ("process", 0),
            ("stop", 9),
        ];
        check(0, &[ready, ready], None, None, 9, &expected);
    }

    #[test]
    fn error_waits_five_seconds_each_time() {
        let expected = [
            ("start", 0),
            ("process", 0),
            ("process", 5),
            ("process", 10),
            ("stop", 60),
        ];
        check(0, &[Play::Fail, Play::Fail], None, None, 60, &expected);
    }

    #[test]
    fn failed_target_waits_a_second_longer_each_time() {
        let failed = Play::Return(Status::Failed);
        let expected = [
            ("start", 0),
            ("process", 0),
            ("process", 1),
            ("process", 3),
            ("process", 6),
            ("stop", 60),
        ];
        check(0, &[failed, failed, failed], None, None, 60, &expected);
    }

    #[test]
    fn timers_of_an_idle_sink_are_kept() {
        let expected = [
            ("start", 0),
            ("process", 0),
            ("tick", 0),
            ("tick", 30),
            ("tick", 60),
            ("stop", 70),
        ];
        check(0, &[], Some(Duration::from_secs(30)), None, 70, &expected);
    }

    #[test]
    fn start_is_retried_every_three_seconds() {
        let expected = [
            ("start", 0),
            ("start", 3),
            ("start", 6),
            ("process", 6),
            ("stop", 10),
        ];
        check(2, &[], None, None, 10, &expected);
    }

    #[test]
    fn stop_signal_ends_a_wait_after_an_error() {
        let expected = [("start", 0), ("process", 0), ("stop", 2)];
        check(0, &[Play::Fail], None, None, 2, &expected);
    }

    #[test]
    fn transaction_under_way_has_the_deadline_to_finish() {
        let expected = [("start", 0), ("process", 0), ("stop", 17)];
        check(0, &[Play::Hang], None, None, 10, &expected);
    }
}
