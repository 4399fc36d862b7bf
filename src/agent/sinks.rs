//! From a sink's configuration to a running sink.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::channel::Consumer;
use crate::config::{SinkConfig, SinkKind};
use crate::metrics::SinkCounters;
use crate::reactor::{DrainWorld, Ground};
use crate::sink::escape::{Place, Template, TimeSettings};
use crate::sink::file_roll::FileRollSink;
use crate::sink::hdfs::HdfsSink;
use crate::sink::kafka::{Escape, KafkaSink, TopicName};
use crate::sink::logger::LoggerSink;
use crate::sink::null::NullSink;
use crate::sink::processor::{DefaultSinkProcessor, SinkRunner};
use crate::sink::{Outside, Sink};

/// What every sink of a drain thread gets.
#[derive(Debug, Clone)]
pub(super) struct SinkGround {
    pub(super) world: DrainWorld,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) stop_deadline: Duration,
    /// Where a sink keeps small files across restarts, by channel.
    pub(super) state_dirs: Rc<BTreeMap<String, PathBuf>>,
}

/// Runs `config`'s sink over `consumer` until the stop signal.
pub(super) async fn run_sink(
    config: SinkConfig,
    consumer: Consumer,
    counters: Arc<SinkCounters>,
    ground: SinkGround,
) {
    let name = config.name.clone();
    match config.kind {
        SinkKind::Logger { bytes_max } => {
            drive(&name, LoggerSink::new(bytes_max), consumer, ground).await;
        }
        SinkKind::Null {
            batch_size,
            log_every_events,
        } => {
            let sink = NullSink::new(name.clone(), batch_size, log_every_events);
            drive(&name, sink, consumer, ground).await;
        }
        SinkKind::FileRoll(file_roll) => {
            let outside = Outside::of(&ground.world);
            let sink = FileRollSink::new(file_roll, counters, outside);
            drive(&name, sink, consumer, ground).await;
        }
        SinkKind::Kafka(kafka) => {
            let topic = TopicName::new(&kafka, |text| topic_escape(text, &ground.world));
            let sink = KafkaSink::new(name.clone(), &kafka, topic, counters);
            drive(&name, sink, consumer, ground).await;
        }
        SinkKind::Hdfs(hdfs) => {
            let outside = Outside::of(&ground.world);
            let state_dir = ground.state_dirs.get(&config.channel);
            let state_dir = state_dir.map(|directory| directory.join("sinks").join(&name));
            match HdfsSink::new(*hdfs, state_dir, counters, outside) {
                Ok(sink) => drive(&name, sink, consumer, ground).await,
                // The configuration was checked; what is left is a client that cannot be made here.
                Err(error) => tracing::error!(
                    error = &error as &(dyn std::error::Error + 'static),
                    "Sink {name} cannot be made and does not run; its events stay in the channel"
                ),
            }
        }
    }
}

async fn drive<S: Sink>(name: &str, sink: S, consumer: Consumer, ground: SinkGround) {
    let processor = DefaultSinkProcessor::new(name, sink);
    SinkRunner::new(processor, consumer, ground.stop, ground.stop_deadline)
        .run()
        .await;
}

/// The escapes of `kafka.topic`.
fn topic_escape(text: &str, world: &DrainWorld) -> Escape {
    let world = world.clone();
    match Template::parse(text, Place::Name, TimeSettings::default()) {
        Ok(template) => {
            let template = std::cell::RefCell::new(template);
            Box::new(move |event, out| {
                template.borrow_mut().render(event, world.wall_ms(), out);
                Ok(())
            })
        }
        // The configuration has refused what does not parse; this is said once more per event.
        Err(error) => {
            let reason = error.to_string();
            Box::new(move |_, _| Err(reason.clone().into()))
        }
    }
}
