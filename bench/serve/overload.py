"""Overloads a server: requests arrive at three times its capacity, and it must still answer as many as it can.

    python3 bench/serve/overload.py --model MODEL_DIR --data data/banking77/test.csv [--seconds 60]

Requests have from 1 to 32 texts. The script first measures the capacity: the best rate of answers in a closed loop,
over several numbers of requests at a time. Then requests arrive at random at `--times` that rate, whether or not others
are answered, first all from one client, then from twenty (the server trusts `X-Forwarded-For` from here). Only answers
with status 200 count, within the timeout and while requests arrive. The table has rates of texts as well as of
requests, since small requests meet deadlines more easily. Prints a table in Markdown, and fails if less than 90 % of
the capacity is answered.
"""

import argparse
import asyncio
import csv
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from urllib.parse import urlsplit

SIZES = [1, 1, 1, 2, 4, 8, 16, 32]


def requests(texts, count, clients):
    """Requests as bytes, each with its number of texts."""
    pick, made = random.Random(0), []
    for _ in range(count):
        size = pick.choice(SIZES)
        body = json.dumps({"inputs": pick.choices(texts, k=size)}).encode()
        client = f"198.51.100.{1 + pick.randrange(clients)}"
        head = f"POST /embed HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {client}\r\ncontent-length: {len(body)}\r\n\r\n"
        made.append((head.encode() + body, size))
    return made


class Client:
    """Sends requests over connections that it keeps."""

    def __init__(self, url):
        self.where, self.idle = urlsplit(url), []

    async def ask(self, request):
        """Sends a request; returns the status, or 0 if the connection ends."""
        try:
            if self.idle:
                reader, writer = self.idle.pop()
            else:
                reader, writer = await asyncio.open_connection(self.where.hostname, self.where.port)
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            if b"connection: close" in head:
                writer.close()
            else:
                self.idle.append((reader, writer))
            return int(head.split(b" ")[1])
        except (OSError, EOFError):
            return 0


class Run:
    """Counts of answers and their texts, and latencies."""

    def __init__(self, seconds):
        self.seconds, self.codes, self.texts, self.latencies, self.refusals = seconds, Counter(), 0, [], []
        self.end = time.perf_counter() + seconds

    async def ask(self, client, request, size):
        start = time.perf_counter()
        code = await client.ask(request)
        now = time.perf_counter()
        if now <= self.end:
            self.codes[code] += 1
            (self.latencies if code == 200 else self.refusals).append(now - start)
            self.texts += size if code == 200 else 0

    @property
    def rates(self):
        return self.codes[200] / self.seconds, self.texts / self.seconds

    def row(self, what, capacity=None):
        (answers, texts), late = self.rates, sorted(self.latencies)
        of = f" ({answers / capacity[0]:.0%})" if capacity else ""
        of_texts = f" ({texts / capacity[1]:.0%})" if capacity else ""
        others = {code: count for code, count in sorted(self.codes.items()) if code != 200}
        refused = sorted(self.refusals)
        early = f", after {1e3 * refused[len(refused) // 2]:.0f} ms" if refused else ""
        p50, p99 = (late[int(len(late) * p)] if late else 0 for p in (0.5, 0.99))
        print(
            f"| {what} | {answers:.1f}{of} | {texts:.0f}{of_texts} | {p50:.2f} | {p99:.2f} | "
            f"{str(others) + early if others else 'none'} |", flush=True,
        )


async def closed(url, made, seconds, concurrency):
    client, run, todo = Client(url), Run(seconds), iter(made * 1000)

    async def work():
        while time.perf_counter() < run.end:
            await run.ask(client, *next(todo))

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return run


async def arriving(url, made, seconds, rate):
    client, run, todo, pick = Client(url), Run(seconds), iter(made * 1000), random.Random(1)
    due, under_way = time.perf_counter(), set()
    while due < run.end:
        await asyncio.sleep(max(0, due - time.perf_counter()))
        task = asyncio.create_task(run.ask(client, *next(todo)))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        due += pick.expovariate(rate)
    for task in under_way:
        task.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="a .csv with a column `text`")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--probe", type=float, default=10, help="seconds of each closed loop")
    parser.add_argument("--concurrency", type=int, nargs="*", default=[4, 8, 16, 32])
    parser.add_argument("--times", type=float, default=3)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 20])
    parser.add_argument("--timeout", type=float, default=10)
    parser.add_argument("--serve", default="target/release/serve")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="flags for serve; must come last")
    args = parser.parse_args()
    with open(args.data, newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    command = [args.serve, "--model", f"m={args.model}", "--port", "0", "--json", "-q", "--timeout", str(args.timeout),
               "--trusted-proxy", "127.0.0.1", *args.flags]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    enough = True
    try:
        url = json.loads(server.stdout.readline())["url"]
        print("| load | answers/s | texts/s | p50 s | p99 s | other than 200 |\n|---|---|---|---|---|---|")
        for clients in args.clients:
            # The capacity is measured right before the overload, so that both see the same machine.
            made = requests(texts, 2000, clients)
            asyncio.run(closed(url, made, 3, 8))
            best = None
            for concurrency in args.concurrency:
                run = asyncio.run(closed(url, made, args.probe, concurrency))
                run.row(f"{concurrency} at a time, {clients} clients")
                best = max(best or run.rates, run.rates, key=lambda rates: rates[0])
            run = asyncio.run(arriving(url, made, args.seconds, args.times * best[0]))
            run.row(f"{args.times:g} × capacity, {clients} clients", best)
            enough &= run.rates[0] >= 0.9 * best[0]
            # The script has dropped the open requests; after this the server is idle again.
            time.sleep(1)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    sys.exit(not enough)


if __name__ == "__main__":
    main()
