"""Processes we start: a log file each, a bound on every wait, ended by their process id."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request


class Process:
    """One child. Use as a context manager, or call `end`."""

    def __init__(self, name, command, log, **options):
        self.name = name
        self.log = log
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                [str(word) for word in command], stdout=options.pop("stdout", output), stderr=output,
                stdin=options.pop("stdin", subprocess.DEVNULL), **options)
        self.pid = self.child.pid

    def wait_until(self, what, check, limit_s):
        """Polls `check` until it is true. The child's death or the limit is an error that shows its log."""
        end = time.monotonic() + limit_s
        while not check():
            if self.child.poll() is not None:
                self.fail(f"ended with code {self.child.returncode} before {what}")
            if time.monotonic() > end:
                self.fail(f"not yet {what} after {limit_s} s")
            time.sleep(0.005)

    def fail(self, reason):
        with open(self.log, errors="replace") as log:
            tail = "".join(log.readlines()[-25:])
        raise RuntimeError(f"{self.name}: {reason}; the end of {self.log}:\n{tail}")

    def end(self, limit_s=30):
        """Asks it to stop; kills it when it does not. Returns the exit code."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(limit_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.child.returncode

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Shell:
    """A partner's command shell: a line in, lines and END (or ERR reason) out."""

    def __init__(self, name, command, log):
        self.process = Process(name, command, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.child.stdout.readline().strip() != "READY":
            self.process.fail("did not say READY")

    def run(self, command):
        child = self.process.child
        child.stdin.write(command + "\n")
        child.stdin.flush()
        reply = []
        while True:
            line = child.stdout.readline()
            if line.strip() == "END":
                return reply
            if not line or line.startswith("ERR"):
                self.process.fail(f"{command}: {line.strip()}")
            reply.append(line.rstrip("\n"))

    def end(self):
        self.process.child.stdin.close()
        self.process.end(5)


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        # A port that the kernel also hands out can be connected to itself while nobody listens there.
        return probe.connect_ex(("127.0.0.1", port)) == 0 and probe.getsockname() != probe.getpeername()


def http(port, path):
    """Status and text; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError:
        return 0, ""


def output(command, limit_s, folder=None):
    """Runs to the end, in `folder`, and returns the JSON on its standard output. Standard error goes through."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=limit_s, cwd=folder)
    if done.returncode != 0:
        raise RuntimeError(f"{os.path.basename(str(command[0]))} failed: {' '.join(map(str, command))}")
    return json.loads(done.stdout)
