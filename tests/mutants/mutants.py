"""The mutants of a crate: which there are, which are drawn, and the file that says what became of them."""

import collections
import hashlib
import json
import pathlib
import random
import subprocess

LISTS = pathlib.Path(__file__).with_name("lists")
COLUMNS = ["outcome", "by", "mutant", "function", "reason"]

# No mutants are drawn of these files: kernels for other processors (`tests/targets/run` tests NEON, AMX needs the
# processor itself), and the generators of the tests' own inputs.
EXCLUDED = [
    "tensor/cpu/src/product/neon.rs",
    "tensor/cpu/src/product/amx.rs",
    "tensor/cpu/src/product/amx/**",
    "autograd/src/registry/**",
]


def listed(repository, crate):
    """All mutants that cargo-mutants makes of the crate, in the order of the source."""
    command = ["cargo", "mutants", "--list", "--json", "--package", crate]
    for files in EXCLUDED:
        command += ["--exclude", files]
    listed = json.loads(subprocess.run(command, cwd=repository, check=True, capture_output=True).stdout)
    return identified(listed, lambda file: (repository / file).read_text())


def identified(mutants, text_of):
    """The mutants, each with two more entries that the list keeps. `key` names it by its file and what it replaces, not by
    its line, and counts those of the same name: so it stays the same while other code changes. `function_text` is a digest
    of its function: where that differs, the outcome of before says nothing."""
    seen, texts = collections.Counter(), {}
    for mutant in mutants:
        file = mutant["file"]
        key = mutant["name"].replace(f"{file}:", "", 1).split(": ", 1)[1]
        key = f"{file}: {key}"
        seen[key] += 1
        mutant["key"] = key if seen[key] == 1 else f"{key} ({seen[key]})"
        if file not in texts:
            texts[file] = text_of(file).splitlines()
        if mutant["function"]:
            whole = mutant["function"]["span"]
            lines = texts[file][whole["start"]["line"] - 1 : whole["end"]["line"]]
            mutant["function_text"] = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
    return mutants


def drawn(repository, crate, seed, listed_before):
    """All mutants of the crate: first those of the list, in its order, then the others in an order that the seed decides.
    Their `id` is their place, from 1."""
    mutants = listed(repository, crate)
    random.Random(seed).shuffle(mutants)
    places = {key: place for place, key in enumerate(listed_before)}
    mutants.sort(key=lambda mutant: places.get(mutant["key"], len(places)))
    for at, mutant in enumerate(mutants, 1):
        mutant["id"] = at
    return mutants


class Outcomes:
    """What became of the mutants of a crate: the file `lists/CRATE.tsv`."""

    def __init__(self, crate, seed):
        self.file = LISTS / f"{crate}.tsv"
        self.head = f"# seed {seed}"
        self.rows = {}

    def read(self):
        """Takes the rows of the file, if it is of the same seed."""
        if self.file.exists():
            head, _, *lines = self.file.read_text().splitlines()
            if head == self.head:
                rows = [dict(zip(COLUMNS, line.split("\t"))) for line in lines]
                self.rows = {row["mutant"]: row for row in rows}
        return self

    def row(self, mutant):
        """What is known of the mutant; nothing if its function has changed."""
        row = self.rows.get(mutant["key"], {})
        return row if row.get("function") == mutant.get("function_text") else {}

    def outcome(self, mutant):
        return self.row(mutant).get("outcome")

    def is_settled(self, mutant):
        """Whether a test kills the mutant, or a reason says why none does."""
        row = self.row(mutant)
        return row.get("outcome") in ("dead", "timeout") or bool(row.get("reason"))

    def note(self, mutant, outcome, by=""):
        """Notes an outcome. The reason, which a person writes, stays while the mutant survives."""
        old = self.row(mutant)
        reason = old.get("reason", "") if outcome == old.get("outcome") else ""
        row = [outcome, by, mutant["key"], mutant["function_text"], reason]
        self.rows[mutant["key"]] = dict(zip(COLUMNS, row))

    def write(self, mutants):
        """Writes the rows of `mutants`, in their order."""
        rows = [self.rows[m["key"]] for m in mutants if m["key"] in self.rows]
        lines = [self.head, "\t".join(COLUMNS)] + ["\t".join(row[c] for c in COLUMNS) for row in rows]
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text("\n".join(lines) + "\n")

    def summary(self, mutants):
        """One line: how many, and which part of the viable ones died, timeouts not counted."""
        found = collections.Counter(self.outcome(mutant) for mutant in mutants)
        dead, survived = found["dead"], found["survived"]
        share = 100 * dead / max(1, dead + survived)
        return (
            f"{dead} dead, {survived} survived, {found['timeout']} timeouts, {found['not viable']} not viable: "
            f"{share:.1f} % die"
        )
