"""The mutants of a crate: which there are, which are drawn, and the file that says what became of them."""

import json
import pathlib
import random
import subprocess

LISTS = pathlib.Path(__file__).with_name("lists")
COLUMNS = ["outcome", "by", "mutant", "reason"]

# No mutants are drawn of these files: kernels for other processors (`tests/targets/run` tests NEON, AMX needs the
# processor itself), and the generators of the tests' own inputs.
EXCLUDED = [
    "tensor/cpu/src/product/neon.rs",
    "tensor/cpu/src/product/amx.rs",
    "autograd/src/registry/**",
]


def listed(repository, crate):
    """All mutants that cargo-mutants makes of the crate, in the order of the source."""
    command = ["cargo", "mutants", "--list", "--json", "--package", crate]
    for files in EXCLUDED:
        command += ["--exclude", files]
    return json.loads(subprocess.run(command, cwd=repository, check=True, capture_output=True).stdout)


def drawn(repository, crate, seed):
    """All mutants of the crate in an order that the seed decides. Their `id` is their place in it, from 1."""
    mutants = listed(repository, crate)
    random.Random(seed).shuffle(mutants)
    for at, mutant in enumerate(mutants, 1):
        mutant["id"] = at
    return mutants


class Outcomes:
    """What became of the mutants of a crate: the file `lists/CRATE.tsv`."""

    def __init__(self, crate, seed, total):
        self.file = LISTS / f"{crate}.tsv"
        self.head = f"# seed {seed}, {total} mutants in all"
        self.rows = {}

    def read(self):
        """Takes the rows of the file, if it is of the same draw."""
        if self.file.exists():
            head, _, *lines = self.file.read_text().splitlines()
            if head == self.head:
                rows = [dict(zip(COLUMNS, line.split("\t"))) for line in lines]
                self.rows = {row["mutant"]: row for row in rows}
        return self

    def outcome(self, mutant):
        return self.rows.get(mutant["name"], {}).get("outcome")

    def note(self, mutant, outcome, by=""):
        """Notes an outcome. The reason, which a person writes, stays while the mutant survives."""
        old = self.rows.get(mutant["name"], {})
        reason = old.get("reason", "") if outcome == old.get("outcome") else ""
        self.rows[mutant["name"]] = dict(zip(COLUMNS, [outcome, by, mutant["name"], reason]))

    def write(self, mutants):
        """Writes the rows of `mutants`, in their order."""
        rows = [self.rows[m["name"]] for m in mutants if m["name"] in self.rows]
        lines = [self.head, "\t".join(COLUMNS)] + ["\t".join(row[c] for c in COLUMNS) for row in rows]
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text("\n".join(lines) + "\n")

    def summary(self):
        """One line: how many, and which part of the viable ones died, timeouts not counted."""
        count = lambda outcome: sum(row["outcome"] == outcome for row in self.rows.values())
        dead, survived = count("dead"), count("survived")
        share = 100 * dead / max(1, dead + survived)
        return (
            f"{dead} dead, {survived} survived, {count('timeout')} timeouts, {count('not viable')} not viable: "
            f"{share:.1f} % die"
        )
