"""Texts of exactly so many tokens or more, of 40,000 made-up words, so that a vocabulary of BERT's size can be learnt.

usage: texts.py FOLDER LENGTH TEXTS
"""

import pathlib
import random
import sys

folder, length, texts = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
draw = random.Random(0)
syllables = [a + b for a in "bcdfghjklmnpqrstvwxz" for b in "aeiouy"]
words = sorted({"".join(draw.choices(syllables, k=draw.randint(2, 4))) for _ in range(40_000)})
folder.mkdir(parents=True)


def write(name, texts):
    lines = ["text,label"]
    lines += [f"{' '.join(draw.choices(words, k=length))},{'odd' if n % 2 else 'even'}" for n in range(texts)]
    (folder / name).write_text("\n".join(lines) + "\n")


write("train.csv", texts)
write("dev.csv", 2)
# A vocabulary takes words that occur twice.
rows = [" ".join(words[at : at + length]) for at in range(0, len(words) - length + 1, length)]
with open(folder / "train.csv", "a") as file:
    file.writelines(f"{row},even\n" for row in rows * 2)
