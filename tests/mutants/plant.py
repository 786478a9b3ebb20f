"""Plants mutants in source text, each behind a switch of run time.

A function with mutants gets one more body for each of them:

    fn area(a: f64, b: f64) -> f64 {
        if crate::mutant_switch::on(17) { a + b } else { a * b }
    }

Every kind of mutant is then the same thing: a replacement in a copy of the body. Nobody needs to know where the operands
of an operator end, and a loop asks once a call, not once a step.
"""

import pathlib
import re

MODULE = "mutant_switch"
SWITCH = pathlib.Path(__file__).with_name("switch.rs")
MARK = re.compile(r"/\*mutant (\d+)\*/(.*?)/\*end \1\*/", re.S)

# What holds braces that open nothing: comments, strings, raw strings, characters. A lifetime is none of them.
QUOTED = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?c?r(\#*)".*?"\1|[bc]?"(?:\\.|[^"\\])*"|b?'(?:\\[^u]|\\u\{[^}]*\}|[^'\\])'""", re.S
)


class Function:
    """A function: where its body lies in the file, and its mutants."""

    def __init__(self, body):
        self.body = body
        self.mutants = []


def position(starts, at):
    """The index in the text of a line and column, which count characters from 1."""
    return starts[at["line"] - 1] + at["column"] - 1


def span(starts, mutant):
    return position(starts, mutant["span"]["start"]), position(starts, mutant["span"]["end"])


def line_starts(text):
    return [0] + [i + 1 for i, character in enumerate(text) if character == "\n"]


def body_of(text, begin, end):
    """Where the body of the function at begin..end lies, without its braces."""
    at, depth = begin, 0
    while at < end:
        quoted = QUOTED.match(text, at)
        if quoted:
            at = quoted.end()
            continue
        if text[at] == "{" and depth == 0:
            return at + 1, text.rindex("}", begin, end)
        # Patterns in the arguments have braces too.
        depth += (text[at] in "([") - (text[at] in ")]")
        at += 1
    raise ValueError(f"no body in {text[begin:end]!r}")


def refusal(text, mutant):
    """Why a mutant cannot be switched at run time, or None."""
    if mutant["function"] is None:
        return "in a constant"
    starts = line_starts(text)
    begin = position(starts, mutant["function"]["span"]["start"])
    end = position(starts, mutant["function"]["span"]["end"])
    head = re.sub(r"//[^\n]*", "", text[begin : body_of(text, begin, end)[0]])
    if re.search(r"\bconst\s+(unsafe\s+)?fn\b", head):
        return "in a const fn"
    if re.search(r"\bimpl\b", mutant["function"]["return_type"]):
        return "two bodies would be two types"
    return None


def mutated(text, body, mutant):
    """The body with the mutant's replacement."""
    begin, end = span(line_starts(text), mutant)
    if mutant["genre"] == "FnValue":
        return mutant["replacement"]
    return text[body[0] : begin] + mutant["replacement"] + text[end : body[1]]


def functions_of(text, mutants):
    """The functions that have mutants, in the order of the text; an outer one before those within it."""
    starts, found = line_starts(text), {}
    for mutant in mutants:
        whole = mutant["function"]["span"]
        body = body_of(text, position(starts, whole["start"]), position(starts, whole["end"]))
        found.setdefault(body, Function(body)).mutants.append(mutant)
    return sorted(found.values(), key=lambda f: (f.body[0], -f.body[1]))


def switched(text, function, rest):
    """The function's body: its mutants, each behind its switch, and `rest`, the body that is not mutated. No line begins
    with a brace that the source does not have there, because some tests read the source."""
    arms = "".join(
        f"if crate::{MODULE}::on({m['id']}) {{ /*mutant {m['id']}*/{mutated(text, function.body, m)}\n/*end {m['id']}*/ }} else "
        for m in function.mutants
    )
    return f"\n{arms}{{{rest}}}"


def planted(text, mutants):
    """The text with `mutants` behind switches."""
    functions = functions_of(text, mutants)

    def between(begin, end):
        """The text of begin..end with the functions within it planted."""
        out, at = [], begin
        for function in functions:
            inner = function.body
            if at <= inner[0] and inner[1] <= end and (begin, end) != inner:
                out += [text[at : inner[0]], switched(text, function, between(*inner))]
                at = inner[1]
        return "".join(out) + text[at:end]

    return between(0, len(text))


def lines_of_mutants(text):
    """For each mutant in a planted text its first and last line."""
    found = {}
    for mark in MARK.finditer(text):
        first = text.count("\n", 0, mark.start()) + 1
        found[int(mark[1])] = (first, first + mark[0].count("\n"))
    return found


def plant(repository, crate, mutants):
    """The files of the repository that `mutants` change, with the mutants behind switches: {file: text}."""
    by_file = {}
    for mutant in mutants:
        by_file.setdefault(mutant["file"], []).append(mutant)
    texts = {file: planted((repository / file).read_text(), of_file) for file, of_file in by_file.items()}
    root = f"{crate}/src/lib.rs"
    texts[root] = texts.get(root) or (repository / root).read_text()
    texts[root] += f"\nmod {MODULE};\n"
    texts[f"{crate}/src/{MODULE}.rs"] = SWITCH.read_text()
    return texts
