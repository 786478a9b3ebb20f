"""Draws what two ranks do in a step, from the timeline.jsonl that `train --rank-timeline STEP` writes. Time runs
downward; a line between the ranks is a message, from when it leaves to when it has arrived.

usage: picture.py RUN/timeline.jsonl TITLE >overlap.svg
"""

import html
import json
import pathlib
import re
import sys

WIDTH, LEFT, COLUMN, TOP, HEIGHT = 480, 46, 112, 88, 700
COLUMNS = (LEFT, WIDTH - 10 - COLUMN)
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #222 }
  .small { font-size: 12px } .time { fill: #666; font-size: 12px }
  .ground { fill: #fff } .line { stroke: #ddd }
  .forward { fill: #cfe3f7 } .backward { fill: #9cc5ee } .update { fill: #cdbfe8 }
  .rest { fill: #e6e6e6 } .wait { fill: none; stroke: #bbb; stroke-dasharray: 3 3 }
  .pack, .add { fill: #333 } .edge { stroke: #fff; fill: none }
  .gradients { stroke: #1463b0 } .sums { stroke: #c4560a } .gradients, .sums { stroke-width: 1.5; fill: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #eee } .time { fill: #aaa } .ground { fill: #16181c } .line { stroke: #3a3d42 }
    .forward { fill: #24405c } .backward { fill: #2d6399 } .update { fill: #54448a }
    .rest { fill: #3a3d42 } .wait { stroke: #777 } .pack, .add { fill: #ddd } .edge { stroke: #16181c }
    .gradients { stroke: #7dbbff } .sums { stroke: #ff9d57 }
  }
"""


def part(name):
    """The part of the model that a parameter belongs to."""
    if layer := re.search(r"layer\.(\d+)\.", name):
        return f"layer {layer[1]}"
    return "embeddings" if "embeddings" in name else "head"


def joined(marks, gap):
    """The times of marks; those that follow each other within a gap are one."""
    times = []
    for mark in sorted(marks, key=lambda mark: mark["begin"]):
        if times and mark["begin"] - times[-1][1] < gap:
            times[-1][1] = max(times[-1][1], mark["end"])
        else:
            times.append([mark["begin"], mark["end"]])
    return times


class Picture:
    def __init__(self, marks):
        self.marks = marks
        self.end = max(mark["end"] for mark in marks)
        self.shapes = []

    def y(self, time):
        return TOP + HEIGHT * time / self.end

    def of(self, rank, *what):
        return [mark for mark in self.marks if mark["rank"] == rank and mark["what"] in what]

    def add(self, shape):
        self.shapes.append(shape)

    def text(self, x, y, text, kind="small", anchor="start"):
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{html.escape(text)}</text>')

    def block(self, rank, begin, end, kind, label=""):
        """Something that a rank does, in its column."""
        x, top, bottom = COLUMNS[rank], self.y(begin), self.y(end)
        if bottom - top < 0.3:
            return
        edge = "" if kind == "wait" else f'<path d="M{x} {bottom:.1f}h{COLUMN}" class="edge"/>'
        self.add(f'<rect x="{x}" y="{top:.1f}" width="{COLUMN}" height="{bottom - top:.1f}" class="{kind}"/>{edge}')
        if bottom - top > 12:
            self.text(x + COLUMN / 2, (top + bottom) / 2 + 4, label, anchor="middle")
        elif kind == "update":
            self.text(x + COLUMN / 2, bottom + 13, label, anchor="middle")

    def rank(self, rank):
        self.text(COLUMNS[rank] + COLUMN / 2, TOP - 10, f"rank {rank}", "", "middle")
        for mark in self.of(rank, "forward"):
            self.block(rank, mark["begin"], mark["end"], "forward", "forward")
        backward = self.of(rank, "backward")
        for mark in backward[:-1]:
            self.block(rank, mark["begin"], mark["end"], "backward", "backward")
        self.layers(rank, backward[-1])
        for what, kind, label in (("wait", "wait", "waits"), ("unpack", "rest", "unpack"), ("update", "update", "optimiser")):
            for begin, end in joined(self.of(rank, what), self.end / 100):
                self.block(rank, begin, end, kind, label)
        # Where packing and adding begin, beside the messages.
        x = COLUMNS[rank] + (COLUMN - 6 if rank == 0 else 0)
        for mark in self.of(rank, "pack", "add"):
            height = max(0.5, self.y(mark["end"]) - self.y(mark["begin"]))
            self.add(f'<rect x="{x}" y="{self.y(mark["begin"]):.1f}" width="6" height="{height:.1f}" class="{mark["what"]}"/>')

    def layers(self, rank, last):
        """The last backward: each part ends with the last of its gradients."""
        ends = {}
        for mark in self.of(rank, "gradient"):
            ends[part(mark["of"])] = mark["end"]
        begin = last["begin"]
        for name, end in sorted(ends.items(), key=lambda item: item[1]):
            self.block(rank, begin, end, "backward", f"{name} ←")
            begin = end
        self.block(rank, begin, last["end"], "backward")

    def messages(self):
        inner = (COLUMNS[0] + COLUMN, COLUMNS[1])
        for leaves, arrives, kind in (("pack", "arrive", "gradients"), ("add", "sum", "sums")):
            for there in (m for m in self.marks if m["what"] == arrives):
                sender = there["with"]
                left = next(m for m in self.of(sender, leaves) if m["of"] == there["of"])
                path = f"M{inner[sender]} {self.y(left['end']):.1f}L{inner[there['rank']]} {self.y(there['end']):.1f}"
                self.add(f'<path d="{path}" class="{kind}"/>')

    def draw(self, title):
        size = f'viewBox="0 0 {WIDTH} {TOP + HEIGHT + 20}" width="{WIDTH}" height="{TOP + HEIGHT + 20}"'
        self.add(f'<rect width="{WIDTH}" height="{TOP + HEIGHT + 20}" class="ground"/>')
        for at, line in enumerate(title.split("\n")):
            self.text(10, 22 + 18 * at, line, "" if at == 0 else "small")
        middle = (COLUMNS[0] + COLUMN + COLUMNS[1]) / 2
        for x, kind, label in ((middle - 78, "gradients", "gradients"), (middle + 18, "sums", "sums")):
            self.add(f'<path d="M{x} {TOP - 14}h18" class="{kind}"/>')
            self.text(x + 22, TOP - 10, label)
        steps = [s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2) if self.end / s <= 14]
        for tick in range(int(self.end / steps[0]) + 1):
            y = self.y(tick * steps[0])
            self.add(f'<path d="M{LEFT - 4} {y:.1f}H{WIDTH - 10}" class="line"/>')
            self.text(LEFT - 8, y + 4, f"{tick * steps[0]:.3g} s", "time", "end")
        self.messages()
        for rank in (0, 1):
            self.rank(rank)
        label = html.escape(title.replace("\n", ". "))
        return (f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">\n'
                f"<style>{STYLE}</style>\n" + "\n".join(self.shapes) + "\n</svg>")


marks = [json.loads(line) for line in pathlib.Path(sys.argv[1]).read_text().splitlines()]
print(Picture(marks).draw(sys.argv[2].replace("\\n", "\n")))
