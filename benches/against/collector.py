"""The two sides: Flume 1.11 and flumen, started with the same properties.

A side is told a channel type and a sink; its properties differ from the other side's in nothing but
folders and ports.
"""

import json
import pathlib
import re
import shutil
import time

from .machine import free_port
from .process import Process, http, listens

START_LIMIT_S = 120
DRAIN_LIMIT_S = 300

LOG4J2 = """\
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} (%t) [%p - %l] %m%n
"""


def properties(folder, port, channel, sink):
    """An agent `a`: Avro source, one channel, one sink."""
    lines = {
        "a.sources": "r",
        "a.channels": "c",
        "a.sinks": "k",
        "a.sources.r.type": "avro",
        "a.sources.r.bind": "127.0.0.1",
        "a.sources.r.port": port,
        "a.sources.r.channels": "c",
        "a.channels.c.type": channel["type"],
        "a.channels.c.capacity": channel["capacity"],
        "a.channels.c.transactionCapacity": 10000,
        "a.sinks.k.channel": "c",
    }
    if channel["type"] == "file":
        lines["a.channels.c.checkpointDir"] = folder / "checkpoint"
        lines["a.channels.c.dataDirs"] = folder / "data"
    for key, value in sink.items():
        lines[f"a.sinks.k.{key}"] = value
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


class Collector:
    """A running collector of either kind."""

    side = ""

    def __init__(self, bench, name, channel, sink):
        self.bench = bench
        self.name = f"{self.side}-{name}"
        self.folder = pathlib.Path(bench.data) / self.name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.conf = self.folder / "conf"
        self.conf.mkdir(parents=True)
        self.port = free_port()
        self.monitoring_port = free_port()
        self.admin_port = free_port()
        (self.conf / "log4j2.properties").write_text(LOG4J2)
        (self.conf / "flume.properties").write_text(properties(self.folder, self.port, channel, sink))
        self.process = None

    def command(self):
        raise NotImplementedError

    def ready(self):
        return listens(self.port)

    def start(self):
        """Returns the seconds from start to accepting connections."""
        begun = time.monotonic()
        self.process = Process(self.name, self.command(), self.folder / "log")
        self.process.wait_until("accepting connections", self.ready, START_LIMIT_S)
        return time.monotonic() - begun

    @property
    def pid(self):
        return self.process.pid

    def metrics(self):
        """Flume's counters; both sides have them."""
        _, text = http(self.monitoring_port, "/metrics")
        return json.loads(text) if text else {}

    def backlog(self):
        return int(float(self.metrics().get("CHANNEL.c", {}).get("ChannelSize", 0)))

    def delivered(self):
        return int(self.metrics().get("SINK.k", {}).get("EventDrainSuccessCount", 0))

    def wait_drained(self):
        self.process.wait_until("drained", lambda: self.backlog() == 0, DRAIN_LIMIT_S)

    def end(self, keep=False):
        if self.process:
            self.process.end()
            self.process = None
        if not keep and not self.bench.keep:
            shutil.rmtree(self.folder, ignore_errors=True)


class Flume(Collector):
    """The real one, from tests/partners."""

    side = "flume"

    def command(self):
        return [
            "java", "-Xmx2g", "-cp", f"{self.conf}:{self.bench.partners}/flume-1.11/lib/*",
            "-Dflume.monitoring.type=http", f"-Dflume.monitoring.port={self.monitoring_port}",
            "org.apache.flume.node.Application",
            "-n", "a", "-f", self.conf / "flume.properties", "--no-reload-conf",
        ]


class Flumen(Collector):
    """Ours, as an operator starts it."""

    side = "flumen"

    def __init__(self, bench, name, channel, sink, binary=None):
        self.binary = binary or bench.flumen
        super().__init__(bench, name, channel, sink)

    def command(self):
        return [
            self.binary, "agent", "--conf", self.conf,
            "--conf-file", self.conf / "flume.properties", "--name", "a",
            "-Dflume.monitoring.type=http", f"-Dflume.monitoring.port={self.monitoring_port}",
            f"-Dflumen.admin.address=127.0.0.1:{self.admin_port}",
            *(f"-D{definition}" for definition in self.bench.define),
        ]

    def ready(self):
        return listens(self.port) and http(self.admin_port, "/readyz")[0] == 200

    def flushes(self):
        """Blocks made durable so far, over all shards."""
        _, text = http(self.admin_port, "/metrics")
        name = r"^flumen_channel_flush_latency_seconds_count(?:\{[^}]*\})? (\S+)$"
        return sum(float(value) for value in re.findall(name, text, re.MULTILINE))


FILE = {"type": "file", "capacity": 4_000_000}
MEMORY = {"type": "memory", "capacity": 1_000_000}
NULL = {"type": "null", "batchSize": 1000}
