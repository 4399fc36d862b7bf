"""The systems downstream, real ones: a Kafka broker and an HDFS of one NameNode and one DataNode.

Both live in a folder of their own under the data folder, listen on free ports of 127.0.0.1 and end
with the bench.
"""

import pathlib
import shutil
import time

from .machine import free_port, say
from .process import Process, Shell, listens

START_LIMIT_S = 120


class Partner:
    """A folder, and the processes in it."""

    def __init__(self, bench, name):
        self.bench = bench
        self.folder = pathlib.Path(bench.data) / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.conf = self.folder / "conf"
        self.conf.mkdir(parents=True)
        self.lib = pathlib.Path(bench.partners) / name
        self.running = []

    def java(self, heap, main, *words):
        path = f"{self.conf}:{self.lib}/classes:{self.lib}/lib/*"
        return ["java", f"-Xmx{heap}", "-cp", path, main, *words]

    def start(self, name, command):
        process = Process(name, command, self.folder / f"{name}.log", cwd=self.folder)
        self.running.append(process)
        return process

    def shell(self, name, command):
        shell = Shell(name, command, self.folder / f"{name}.log")
        self.running.append(shell)
        return shell

    def once(self, name, command):
        process = Process(name, command, self.folder / f"{name}.log", cwd=self.folder)
        if process.child.wait(START_LIMIT_S) != 0:
            process.fail("did not succeed")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.end()
        if not self.bench.keep:
            shutil.rmtree(self.folder, ignore_errors=True)


class Kafka(Partner):
    """One KRaft node."""

    CLUSTER_ID = "Zmx1bWVuLWJlbmNoLTAwMQ"

    def __init__(self, bench):
        super().__init__(bench, "kafka")
        self.port = free_port()
        controller = free_port()
        conf = self.conf / "server.properties"
        conf.write_text(
            "process.roles=broker,controller\n"
            "node.id=1\n"
            f"controller.quorum.voters=1@127.0.0.1:{controller}\n"
            f"listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}\n"
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}\n"
            "controller.listener.names=CONTROLLER\n"
            f"log.dirs={self.folder}/data\n"
            "offsets.topic.replication.factor=1\n"
            "transaction.state.log.replication.factor=1\n"
            "transaction.state.log.min.isr=1\n")
        say("starting Kafka")
        self.once("format", self.java("128m", "kafka.tools.StorageTool", "format", "-t", self.CLUSTER_ID, "-c", conf))
        try:
            broker = self.start("broker", self.java("1g", "kafka.Kafka", conf))
            broker.wait_until("listening", lambda: listens(self.port), START_LIMIT_S)
            self.client = self.shell("shell", self.java("256m", "KafkaShell", f"127.0.0.1:{self.port}"))
        except BaseException:
            self.__exit__()
            raise

    def create(self, topic, partitions):
        self.client.run(f"create {topic} {partitions}")

    def count(self, topic):
        return int(self.client.run(f"count {topic}")[0])


class Hdfs(Partner):
    """One NameNode, one DataNode, one copy of each block."""

    NAMENODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
    DATANODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"

    def __init__(self, bench):
        super().__init__(bench, "hdfs")
        self.port = free_port()
        self._write_conf()
        say("starting HDFS")
        self.once("format", self.java("256m", self.NAMENODE, "-format", "-nonInteractive"))
        try:
            namenode = self.start("namenode", self.java("512m", self.NAMENODE))
            namenode.wait_until("listening", lambda: listens(self.port), START_LIMIT_S)
            self.start("datanode", self.java("512m", self.DATANODE))
            self.client = self.shell("shell", self.java("256m", "HdfsShell"))
            self._wait_writable()
        except BaseException:
            self.__exit__()
            raise

    def _write_conf(self):
        address = lambda: f"127.0.0.1:{free_port()}"  # noqa: E731
        self._write_xml("core-site.xml", {
            "fs.defaultFS": self.uri(),
            "hadoop.tmp.dir": f"{self.folder}/tmp",
        })
        self._write_xml("hdfs-site.xml", {
            "dfs.replication": 1,
            "dfs.namenode.name.dir": f"{self.folder}/name",
            "dfs.datanode.data.dir": f"{self.folder}/data",
            "dfs.namenode.rpc-address": f"127.0.0.1:{self.port}",
            "dfs.namenode.http-address": address(),
            "dfs.namenode.https-address": address(),
            "dfs.datanode.address": address(),
            "dfs.datanode.ipc.address": address(),
            "dfs.datanode.http.address": address(),
            "dfs.datanode.https.address": address(),
            "dfs.datanode.hostname": "127.0.0.1",
        })
        (self.conf / "log4j.properties").write_text(
            "log4j.rootLogger=WARN,console\n"
            "log4j.appender.console=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.console.target=System.err\n"
            "log4j.appender.console.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c: %m%n\n")

    def _write_xml(self, name, settings):
        lines = [f"<property><name>{key}</name><value>{value}</value></property>" for key, value in settings.items()]
        (self.conf / name).write_text("<configuration>\n" + "\n".join(lines) + "\n</configuration>\n")

    def _wait_writable(self):
        end = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.client.run("put /ready yes")
                return
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    def uri(self):
        return f"hdfs://127.0.0.1:{self.port}"

    def bytes_below(self, path):
        """Bytes of all files below `path`."""
        return sum(int(line.split(" ", 1)[0]) for line in self.client.run(f"ls {path}"))
