"""The machine: what it is, how busy others keep it, and a disk made of memory.

Figures mean nothing without the machine they came from, so every table carries this module's line.
"""

import json
import os
import pathlib
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time


def say(text):
    """Progress, for the person who waits."""
    print(f"against_flume: {text}", file=sys.stderr, flush=True)


def read(path, default=""):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return default


def free_port():
    """A port nobody listens on. The kernel does not hand it out again at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def host_ticks():
    """All ticks of all CPUs, and those that other guests of the host took."""
    ticks = [int(word) for word in read("/proc/stat").splitlines()[0].split()[1:9]]
    return sum(ticks), ticks[7]


def steal_percent(before, after):
    return round(100 * (after[1] - before[1]) / max(1, after[0] - before[0]), 1)


def describe(folder, repository):
    """Kernel, processor, memory, disk under `folder`, and the commit, as a dictionary."""
    cpu = re.search(r"model name\s*: (.*)", read("/proc/cpuinfo"))
    memory_kib = int(re.search(r"MemTotal:\s*(\d+)", read("/proc/meminfo")).group(1))
    mount = subprocess.run(
        ["findmnt", "--json", "-T", str(folder), "-o", "SOURCE,FSTYPE,OPTIONS"],
        capture_output=True, text=True, check=True)
    mount = json.loads(mount.stdout)["filesystems"][0]
    device = pathlib.Path(mount["source"]).name
    queue = pathlib.Path("/sys/class/block") / device / "queue"
    backing = read(queue.parent / "loop" / "backing_file")
    commit = subprocess.run(
        ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True, text=True, check=False).stdout.strip()
    return {
        "kernel": platform.release(),
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kib / 2**20, 1),
        "disk": device + (f" over {backing}" if backing else ""),
        "file_system": mount["fstype"],
        "mount_options": mount["options"],
        "write_cache": read(queue / "write_cache", "unknown"),
        "fua": read(queue / "fua", "unknown"),
        "commit": commit or "unknown",
    }


class MemoryDisk:
    """XFS on a loop device on a sparse file in /dev/shm: a disk whose speed does not drift with what
    other guests of the host do. Direct I/O and fdatasync work on it as on a disk. Needs root."""

    def __init__(self, size_gib):
        self.image = pathlib.Path(tempfile.mkdtemp(prefix="flumen-bench-", dir="/dev/shm")) / "disk"
        self.mount = pathlib.Path(tempfile.mkdtemp(prefix="flumen-bench-"))
        self.loop = None
        with open(self.image, "wb") as image:
            image.truncate(size_gib << 30)
        try:
            self.loop = self._run("losetup", "--find", "--show", "--direct-io=off", self.image).strip()
            self._run("mkfs.xfs", "-q", self.loop)
            self._run("mount", self.loop, self.mount)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _run(*command):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"against_flume: {command[0]}: {done.stderr.strip()} (--memory-disk needs root)")
        return done.stdout

    def close(self):
        """Takes the disk away. What cannot be taken away is named, so that a person can."""
        for _ in range(20):  # a process that has just died may hold the mount for a moment
            if not os.path.ismount(self.mount):
                break
            if subprocess.run(["umount", self.mount], capture_output=True).returncode != 0:
                time.sleep(0.5)
        else:
            say(f"could not unmount {self.mount}; it is on {self.loop}, in {self.image}")
            return
        if self.loop:
            self._run("losetup", "--detach", self.loop)
        shutil.rmtree(self.image.parent, ignore_errors=True)
        self.mount.rmdir()
