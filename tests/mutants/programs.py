"""Test programs: building them, what their tests reach, and running them with a mutant on."""

import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import threading
import time

FAILED = re.compile(r"^test (.+?)( - should panic)? \.\.\. FAILED|^test result: FAILED")
# A mutant that asks for endless memory, or writes an endless file, dies of it and not the machine.
MEMORY, FILE = 8 << 30, 1 << 30
# What a run with a mutant may take: several times the program's own time, and a start.
SLOWER, START = 5, 20


class Program:
    """A test program."""

    def __init__(self, package, target, executable, folder):
        self.package, self.name = package, f"{package} {target}"
        self.executable, self.folder = executable, folder
        self.seconds = 0.0
        self.reached = {}

    def command(self, tests=()):
        return ["nice", self.executable, *(["--exact", *tests] if tests else [])]


class Run:
    """A run of a program, which ends with its first test that fails."""

    def __init__(self, program, tests, environment, limit):
        self.late = False
        self.process = subprocess.Popen(
            program.command(tests), cwd=program.folder, env=os.environ | environment, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=limits,
        )
        timer = threading.Timer(limit, self.stop_late)
        timer.start()
        self.failed = self.first_failure()
        timer.cancel()

    def stop_late(self):
        self.late = True
        self.stop()

    def stop(self):
        """Ends the program and what it started; they are a session of their own."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def first_failure(self):
        """The first test that fails, "the program" where it ends badly without one, or None."""
        for line in self.process.stdout:
            if failed := FAILED.match(line):
                self.stop()
                self.process.wait()
                return failed[1] or "the program"
        ended = self.process.wait()
        return "the program" if ended and not self.late else None


def limits():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def cargo(tree, arguments):
    """Runs cargo in the tree. Returns its messages, whether all went well, and what it said."""
    command = ["cargo", *arguments, "--message-format", "json"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return messages, done.returncode == 0, done.stderr


def built(tree, packages):
    """Builds the test programs of the packages, and returns them in the packages' order."""
    chosen = [word for package in packages for word in ("--package", package)]
    messages, fine, errors = cargo(tree, ["test", "--no-run", "--lib", "--tests", *chosen])
    if not fine:
        raise SystemExit(f"the planted tree does not build:\n{errors[-3000:]}")
    programs = []
    for message in messages:
        if message.get("reason") == "compiler-artifact" and message["executable"] and message["profile"]["test"]:
            folder = pathlib.Path(message["manifest_path"]).parent
            package = re.search(r"(?:#|/)([\w-]+)(?:@|#)[\d.]+$", message["package_id"])[1]
            programs.append(Program(package, message["target"]["name"], message["executable"], folder))
    return sorted(programs, key=lambda program: packages.index(program.package))


def record(program, file, environment):
    """Runs the program without a mutant: its time, and for each mutant the tests that reach it."""
    file.unlink(missing_ok=True)
    for attempt in ({}, {"GRADUS_MUTANT": "reached", "GRADUS_REACHED": str(file)}):
        begin = time.monotonic()
        run = Run(program, (), environment | attempt, 1800)
        program.seconds = max(program.seconds, time.monotonic() - begin)
        if run.failed or run.late:
            raise SystemExit(f"{program.name} fails without a mutant: {run.failed or 'too slow'}")
    listed = subprocess.run([program.executable, "--list"], cwd=program.folder, capture_output=True, text=True).stdout
    tests = set(re.findall(r"^(.+): test$", listed, re.M))
    for line in file.read_text().splitlines() if file.exists() else ():
        mutant, test = line.split("\t")
        program.reached.setdefault(int(mutant), set()).add(test if test in tests else None)


def outcome(programs, mutant, environment):
    """("dead", the test), ("timeout", the program) or ("survived", "")."""
    environment = environment | {"GRADUS_MUTANT": str(mutant)}
    late = None
    for program in programs:
        reaching = program.reached.get(mutant, set())
        named = sorted(reaching - {None})
        # Another thread than a test's reached it: nobody knows for which test, so all of them run.
        for tests in ([named] if named else []) + ([()] if None in reaching else []):
            run = Run(program, tests, environment, program.seconds * SLOWER + START)
            if run.failed:
                return "dead", f"{program.name}: {run.failed}"
            if run.late:
                late = program.name
                break
    return ("timeout", late) if late else ("survived", "")
