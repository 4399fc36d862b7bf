"""The rows of the table: what each measures, against what, and what it must reach.

A row's two sides are measured in turn, A B A B, within one run, because the machine's disk and
processors are shared with others and drift from minute to minute. Its figure is the ratio of the two
medians; its spread is that of the ratios of the pairs.
"""

import shutil
import statistics
import subprocess
import time

from .collector import FILE, MEMORY, NULL, Flume, Flumen
from .machine import say
from .partners import Hdfs, Kafka
from .process import output

# A JVM compiles while it works: what it does in its first seconds is not what it can do.
JVM_WARMUP_S = 10
GIB = 1 << 30


class Row:
    """One line of the table."""

    def __init__(self, key, measure, unit, must, flumen, base, base_name):
        self.key = key
        self.measure = measure
        self.unit = unit
        self.must = must  # (">=" or "<=", number)
        self.flumen = flumen
        self.base = base  # measured values, or a single 1.0 when the row is no ratio
        self.base_name = base_name

    def value(self):
        return statistics.median(self.flumen) / statistics.median(self.base)

    def spread(self):
        base = self.base if len(self.base) == len(self.flumen) else self.base[:1] * len(self.flumen)
        pairs = [ours / theirs for ours, theirs in zip(self.flumen, base)]
        return min(pairs), max(pairs)

    def holds(self):
        relation, limit = self.must
        return self.value() >= limit if relation == ">=" else self.value() <= limit

    def as_json(self):
        return {
            "row": self.key, "measure": self.measure, "unit": self.unit,
            "flumen": self.flumen, "base": self.base, "base_name": self.base_name,
            "value": self.value(), "spread": self.spread(), "must": self.must, "holds": self.holds(),
        }


def send(bench, collector, **options):
    """One run of the load generator against a collector; its report."""
    options = {"connections": 4, "batch": 1000, "depth": 2, "seconds": bench.seconds} | options
    command = [bench.load, "send", "--to", f"127.0.0.1:{collector.port}", "--server-pid", collector.pid]
    for key, value in options.items():
        command += [f"--{key}", value]
    report = output(command, options["seconds"] + 180)
    if report["broken"]:
        collector.process.fail(f"lost connections: {report['broken']}")
    if report["failed"] or report["errors"]:
        say(f"{collector.name}: {report['failed']} events FAILED, {report['errors']} in error")
    bench.record(collector.name, report)
    return report


def in_turn(bench, sides):
    """Measures each side in turn, as often as asked for. `sides` maps a name to what measures it."""
    results = {name: [] for name in sides}
    for repeat in range(bench.repeats):
        for name, measure in sides.items():
            results[name].append(measure())
            say(f"{repeat + 1}/{bench.repeats} {name}: {bench.last}")
    return results


def column(reports, key):
    return [report[key] for report in reports]


def durable(bench):
    """Acknowledged events with the null sink draining: flumen's file channel against both of Flume's."""
    wanted = bench.wanted("durable", "durable-100", "memory", "cpu")
    collectors = [Flumen(bench, "file", FILE, NULL), Flume(bench, "file", FILE, NULL)]
    if "memory" in wanted:
        collectors.append(Flume(bench, "memory", MEMORY, NULL))
    rows = []
    try:
        for collector in collectors:
            collector.start()
            send(bench, collector, seconds=JVM_WARMUP_S if collector.side == "flume" else 2)
            collector.wait_drained()

        def measure(collector, **options):
            def run():
                report = send(bench, collector, **options)
                collector.wait_drained()
                return report
            return run

        flumen, flume, *memory = collectors
        if wanted & {"durable", "memory", "cpu"}:
            sides = {collector.name: measure(collector) for collector in collectors}
            results = in_turn(bench, sides)
            ours = column(results[flumen.name], "acked_per_s")
            rows.append(Row(
                "durable", "durable acked events/s, 4 connections × batch 1,000, null sink draining", "events/s",
                (">=", 30), ours, column(results[flume.name], "acked_per_s"), "Flume file channel"))
            if memory:
                rows.append(Row(
                    "memory", "the same, flumen durable ÷ Flume in memory", "events/s",
                    (">=", 5), ours, column(results[memory[0].name], "acked_per_s"), "Flume memory channel"))
            rows.append(Row(
                "cpu", "server CPU per event, null sink draining from memory, 4 × 1,000", "µs",
                ("<=", 0.45), column(results[flumen.name], "server_cpu_us_per_event"), [1.0], "absolute"))
        if "durable-100" in wanted:
            sides = {collector.name: measure(collector, batch=100, depth=1) for collector in (flumen, flume)}
            results = in_turn(bench, sides)
            rows.insert(1, Row(
                "durable-100", "durable acked events/s, 4 × 100, one in flight", "events/s", (">=", 20),
                column(results[flumen.name], "acked_per_s"), column(results[flume.name], "acked_per_s"),
                "Flume file channel"))
    finally:
        for collector in collectors:
            collector.end()
    return [row for row in rows if row.key in wanted]


def fio(bench, *words):
    """Runs fio on one file of 1 GiB in the data folder, written whole once before."""
    target = bench.data / "fio"
    common = ["fio", "--name=bench", f"--filename={target}", "--size=1g", "--direct=1", "--output-format=json"]
    if not target.exists():
        fill = [*common, "--rw=write", "--bs=1m", "--end_fsync=1"]
        subprocess.run(fill, check=True, stdout=subprocess.DEVNULL, timeout=300)
    return output([*common, *words], bench.seconds + 120)["jobs"][0]


def wal(bench):
    """Bytes that reach the log's disk against what fio gets there, one flush per 256 KiB."""
    def disk():
        job = fio(bench, "--rw=write", "--bs=256k", "--fdatasync=1", "--overwrite=1", "--ioengine=io_uring",
                  "--iodepth=1", "--time_based", f"--runtime={bench.seconds}")
        bench.record("fio", {"bytes_per_s": job["write"]["bw_bytes"]})
        return job["write"]["bw_bytes"]

    collector = Flumen(bench, "wal", FILE, NULL)
    try:
        collector.start()
        send(bench, collector, seconds=2)

        def ours():
            # What the clients sent, not what the process wrote: that may include segments being pre-written.
            written = send(bench, collector)["bytes_per_s"]
            collector.wait_drained()
            return written

        results = in_turn(bench, {"flumen": ours, "fio": disk})
    finally:
        collector.end()
    return [Row("wal", "WAL bytes/s", "bytes/s", (">=", 0.70), results["flumen"], results["fio"],
                "fio, O_DIRECT 256 KiB + fdatasync, pre-written file")]


def latency(bench):
    """How long an acknowledgement takes at half load, against the disk alone under the same writes."""
    collector = Flumen(bench, "latency", FILE, NULL)
    try:
        collector.start()
        send(bench, collector, seconds=2)
        full = statistics.median(send(bench, collector)["acked_per_s"] for _ in range(3))
        seen = {}

        def ours():
            flushes = collector.flushes()
            report = send(bench, collector, rate=full / 2)
            flushes = max(1, collector.flushes() - flushes)
            event_bytes = report["bytes_per_s"] * report["seconds"] / report["acked"]
            # The bytes of a flush at this load, for the disk's turn.
            seen["bytes_per_s"] = report["bytes_per_s"]
            seen["block_bytes"] = 4096 * max(1, round(report["acked_in_all"] * event_bytes / flushes / 4096))
            collector.wait_drained()
            return report["ack"]["p99_us"]

        def disk():
            report = output([bench.load, "raw-disk", "--dir", bench.data, "--block-bytes", seen["block_bytes"],
                             "--rate", seen["bytes_per_s"], "--seconds", bench.seconds], bench.seconds + 120)
            bench.record("raw-disk", report)
            # As on the other side: a disk that stops for a moment makes late what was due meanwhile.
            return report["from_due"]["p99_us"]

        results = in_turn(bench, {"flumen": ours, "raw-disk": disk})
    finally:
        collector.end()
    return [Row("latency", f"ack p99 at half load ({full / 2:,.0f} events/s)", "µs", ("<=", 3),
                results["flumen"], results["raw-disk"],
                f"write + fdatasync of the same bytes ({seen['block_bytes'] >> 10} KiB), at the same rate")]


def deliver(bench, collectors):
    """Sends a fixed number of events to each in turn; events/s from the first sent to the last delivered."""
    def measure(collector):
        def run():
            before = collector.delivered()
            report = send(bench, collector, events=bench.events, seconds=bench.deliver_limit_s)
            target = before + report["acked_in_all"]
            collector.process.wait_until(
                "delivered", lambda: collector.delivered() >= target, bench.deliver_limit_s)
            seconds = time.time() - report["began_unix_s"]
            bench.record(collector.name, {"delivered": report["acked"], "seconds": seconds})
            return report["acked"] / seconds
        return run

    for collector in collectors:
        collector.start()
        measure(collector)()
    return in_turn(bench, {collector.name: measure(collector) for collector in collectors})


def kafka(bench):
    """From the first event sent to the last one in the broker."""
    with Kafka(bench) as broker:
        collectors = []
        for kind in (Flumen, Flume):
            broker.create(kind.side, 4)
            collectors.append(kind(bench, "kafka", FILE, {
                "type": "org.apache.flume.sink.kafka.KafkaSink",
                "kafka.bootstrap.servers": f"127.0.0.1:{broker.port}",
                "kafka.topic": kind.side,
                "flumeBatchSize": 1000,
            }))
        try:
            results = deliver(bench, collectors)
            for collector in collectors:
                drained, there = collector.delivered(), broker.count(collector.side)
                if there < drained:
                    collector.process.fail(f"says {drained} events are delivered; Kafka has {there}")
        finally:
            for collector in collectors:
                collector.end()
    return [Row("kafka", f"delivered to Kafka end to end, {bench.events:,} events", "events/s", (">=", 10),
                results["flumen-kafka"], results["flume-kafka"], "Flume file channel → Kafka sink")]


def hdfs(bench):
    """From the first event sent to the last one flushed to a file in HDFS."""
    with Hdfs(bench) as cluster:
        collectors = [kind(bench, "hdfs", FILE, {
            "type": "hdfs",
            "hdfs.path": f"{cluster.uri()}/{kind.side}",
            "hdfs.fileType": "DataStream",
            "hdfs.batchSize": 1000,
            "hdfs.rollInterval": 0,
            "hdfs.rollCount": 0,
            "hdfs.rollSize": 268435456,
        }) for kind in (Flumen, Flume)]
        try:
            results = deliver(bench, collectors)
            drained = {collector: collector.delivered() for collector in collectors}
        finally:
            for collector in collectors:
                collector.end()
        for collector, events in drained.items():
            there = cluster.bytes_below(f"/{collector.side}")
            if there < events * 513:  # a body of 512 bytes and a newline
                raise RuntimeError(f"{collector.name} says {events} events are delivered; HDFS has {there} bytes")
    return [Row("hdfs", f"delivered to HDFS end to end, {bench.events:,} events", "events/s", (">=", 15),
                results["flumen-hdfs"], results["flume-hdfs"], "Flume file channel → HDFS sink")]


def forget_files():
    """Empties the page cache: a box that was off starts with neither log nor program in memory."""
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write("3")


def backlog(bench):
    """A log full of events that nobody takes: memory while it waits, and how fast it is read again."""
    wanted = bench.wanted("memory-resident", "recovery")
    events = bench.backlog_gib * GIB // 560
    dead_sink = {  # nobody listens there
        "type": "org.apache.flume.sink.kafka.KafkaSink",
        "kafka.bootstrap.servers": "127.0.0.1:1",
        "kafka.topic": "t",
    }
    channel = {"type": "file", "capacity": 2 * events + 1_000_000}
    collector = Flumen(bench, "backlog", channel, dead_sink)
    rows = []
    try:
        collector.start()
        collector.process.end()
        forget_files()
        empty_s = collector.start()  # the second start: the first also lays out the log
        say(f"filling {bench.backlog_gib} GiB")
        report = send(bench, collector, events=events, seconds=1800)
        stored_gib = report["bytes_per_s"] * report["seconds"] / GIB
        if "memory-resident" in wanted:
            idle = output([bench.load, "idle", "--to", f"127.0.0.1:{collector.port}", "--connections", 1000,
                           "--seconds", 5, "--server-pid", collector.pid], 120)
            bench.record("idle", idle)
            if idle["open_at_the_end"] != 1000:
                collector.process.fail(f"{idle['open_at_the_end']} of 1000 idle connections are left")
            rows.append(Row("memory-resident",
                            f"resident memory, 1,000 idle connections, {bench.backlog_gib} GiB of backlog", "MiB",
                            ("<=", 256), [idle["server_rss_kib"] / 1024], [1.0], "absolute"))
        if "recovery" in wanted:
            def recover():
                collector.process.kill()
                shutil.rmtree(collector.folder / "checkpoint")  # without it the whole log is read
                forget_files()
                took = max(0.0, collector.start() - empty_s) / stored_gib
                if collector.backlog() < report["acked"]:
                    collector.process.fail(f"recovered {collector.backlog()} of {report['acked']} events")
                bench.record("recovery", {"seconds_per_gib": took, "empty_start_s": empty_s})
                return took

            data = collector.folder / "data"
            segments = sorted(str(segment.relative_to(data)) for segment in data.glob("shard-*/segment-*.wal"))
            files = ":".join(segments[:128])  # fio takes no more than 4,096 characters

            def disk():
                # The same log: a disk gives the first GiB after a rest, or of a file written in one go, faster.
                read = output(["fio", "--name=bench", f"--filename={files}", "--file_service_type=sequential",
                               "--readonly", "--rw=read", "--bs=1m", "--direct=1", "--ioengine=io_uring",
                               "--iodepth=4", "--output-format=json"], 120, data)["jobs"][0]["read"]
                took = read["runtime"] / 1000 / (read["io_bytes"] / GIB)
                bench.record("fio", {"seconds_per_gib": took})
                return took

            results = in_turn(bench, {"flumen": recover, "fio": disk})
            rows.append(Row("recovery", f"recovery of {stored_gib:.1f} GiB without a checkpoint, seconds per GiB",
                            "s/GiB", ("<=", 1.5), results["flumen"], results["fio"],
                            "fio, sequential O_DIRECT read of the same log, 1 MiB × 4"))
    finally:
        collector.end()
    return rows


def assertions(bench):
    """What the checks of a release build cost: against the same source without them."""
    if not bench.bare:
        raise RuntimeError("--bare has to name a flumen without its assertions: make bench-assertions")
    sides = [Flumen(bench, "checked", FILE, NULL), Flumen(bench, "bare", FILE, NULL, binary=bench.bare)]
    rows = []
    try:
        for collector in sides:
            collector.start()
        for batch, depth in ((1000, 2), (100, 1)):
            def measure(collector, batch=batch, depth=depth):
                def run():
                    report = send(bench, collector, batch=batch, depth=depth)
                    collector.wait_drained()
                    return report["server_cpu_us_per_event"]
                return run

            results = in_turn(bench, {collector.name: measure(collector) for collector in sides})
            rows.append(Row(
                "assertions", f"server CPU per event with every assertion and overflow check, 4 × {batch:,}", "µs",
                ("<=", 1.1), results["flumen-checked"], results["flumen-bare"], "flumen without them"))
    finally:
        for collector in sides:
            collector.end()
    return rows


# Rows that share their processes are measured together.
GROUPS = [
    (durable, ("durable", "durable-100", "memory", "cpu")),
    (wal, ("wal",)),
    (latency, ("latency",)),
    (kafka, ("kafka",)),
    (hdfs, ("hdfs",)),
    (backlog, ("recovery", "memory-resident")),
    (assertions, ("assertions",)),
]
KEYS = [key for _, keys in GROUPS for key in keys]
# What is beside a real Flume; the others need a second binary.
TABLE = [key for key in KEYS if key != "assertions"]
