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
# What a run without a mutant may take.
PATIENCE = 1800
# In the place of a test's name: a thread that is no test's.
ELSEWHERE = "?"


class Program:
    """A test program."""

    def __init__(self, package, target, executable, folder):
        self.package, self.name = package, f"{package} {target}"
        self.executable, self.folder = executable, folder
        self.seconds = 0.0
        self.reached = {}

    def command(self, tests=()):
        return [str(self.executable), *(["--exact", *tests] if tests else [])]

    def tests(self):
        """The names of its tests."""
        command = self.command() + ["--list"]
        listed = subprocess.run(command, cwd=self.folder, capture_output=True, text=True).stdout
        return re.findall(r"^(.+): test$", listed, re.M)


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
    """The test programs of the packages, built."""
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
    return programs


def record(program, folder, environment):
    """Runs the program without a mutant: its time, and for each mutant the tests that reach it. The folder keeps what was
    recorded of this build."""
    kept = folder / f"{pathlib.Path(program.executable).name}.json"
    if not kept.exists() or kept.stat().st_mtime < os.stat(program.executable).st_mtime:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(observed(program, kept.with_suffix(".tsv"), environment)))
    program.seconds, reached = json.loads(kept.read_text())
    program.reached = {int(mutant): set(tests) for mutant, tests in reached.items()}


def observed(program, file, environment):
    """The time of the program in seconds, and {mutant: the tests that reach it}."""
    begin = time.monotonic()
    run_unmutated(program, environment)
    seconds = time.monotonic() - begin
    reached = reaching(program, file, environment)
    # With one thread of rayon's, the kernels run on the thread of their test, and only a few places are not reached.
    for mutant, tests in reaching(program, file, environment | {"RAYON_NUM_THREADS": "1"}).items():
        reached[mutant] = reached.get(mutant, set()) - {ELSEWHERE} | tests
    return seconds, {mutant: sorted(tests) for mutant, tests in reached.items()}


def reaching(program, file, environment):
    """{mutant: the tests that reach it}, with ELSEWHERE for threads that are no test's."""
    file.unlink(missing_ok=True)
    run_unmutated(program, environment | {"GRADUS_MUTANT": "reached", "GRADUS_REACHED": str(file)})
    tests, reached = set(program.tests()), {}
    for line in file.read_text().splitlines() if file.exists() else ():
        mutant, test = line.split("\t")
        reached.setdefault(int(mutant), set()).add(test if test in tests else ELSEWHERE)
    return reached


def run_unmutated(program, environment):
    run = Run(program, (), environment, PATIENCE)
    if run.failed or run.late:
        raise SystemExit(f"{program.name} fails without a mutant: {run.failed or 'too slow'}")


def steps(programs, mutant):
    """What to run for a mutant: of all programs the tests that reach it, then the other tests of the programs in which a
    thread that is no test's reached it, because nobody knows for which test it did."""
    reaching = [(program, program.reached.get(mutant, set())) for program in programs]
    for program, tests in reaching:
        if named := sorted(tests - {ELSEWHERE}):
            yield program, named
    for program, tests in reaching:
        if ELSEWHERE in tests and (others := sorted(set(program.tests()) - tests)):
            yield program, others


def outcome(groups, mutant, environment):
    """("dead", the test), ("timeout", the program) or ("survived", ""). `groups` are programs, tried group by group."""
    environment = environment | {"GRADUS_MUTANT": str(mutant)}
    late = ""
    for program, tests in (step for programs in groups for step in steps(programs, mutant)):
        run = Run(program, tests, environment, program.seconds * SLOWER + START)
        if run.failed:
            return "dead", f"{program.name}: {run.failed}"
        late = late or (run.late and program.name)
    return ("timeout", late) if late else ("survived", "")
