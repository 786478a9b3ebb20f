"""Loads a server while it registers and unregisters a model in a loop: no request fails, and memory stays constant.

    python3 bench/serve/churn.py --model MODEL_DIR --data data/banking77/test.csv [--minutes 10]

Four clients ask one model for embeddings while another model is registered, asked and unregistered over and over. The
script reads memory right after the other model is unregistered, because its weights are in memory until then. It reads
the server's own memory (RssAnon) and the pages of the weights' file that texts have touched (RssFile); before the start
it sends every text once. It compares the median of the last tenth of the time with that of the first.
"""

import argparse
import csv
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from load import memory


FIELDS = ["VmRSS", "RssAnon", "RssFile"]


def ask(method, url, body=None):
    request = urllib.request.Request(url, body, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--serve", default="target/release/serve")
    args = parser.parse_args()
    with open(args.data, newline="", encoding="utf-8") as file:
        texts = [row["text"].encode() for row in csv.DictReader(file)]
    with tempfile.TemporaryDirectory() as store:
        # The model is copied into the store, because the server follows no link out of it.
        inside = Path(store) / "again"
        subprocess.run(["cp", "-r", args.model, inside], check=True)
        command = [args.serve, "--model", f"m={args.model}", "--model-store", store, "--port", "0", "--json", "-q"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        url = json.loads(server.stdout.readline())["url"]
        # This brings every page of the weights that the texts need into memory before the clock starts.
        for at in range(0, len(texts), 256):
            inputs = [text.decode() for text in texts[at : at + 256]]
            ask("POST", f"{url}/embed", json.dumps({"inputs": inputs}).encode())
        end = time.monotonic() + 60 * args.minutes
        counts, failures = {"asked": 0, "registered": 0}, []
        start, samples = time.monotonic(), []

        def load(seed):
            pick = random.Random(seed)
            while time.monotonic() < end:
                try:
                    ask("POST", f"{url}/predictions/m", pick.choice(texts))
                    counts["asked"] += 1
                except Exception as e:
                    failures.append(repr(e))

        def churn():
            while time.monotonic() < end:
                try:
                    ask("POST", f"{url}/models?url=again&model_name=other")
                    ask("POST", f"{url}/predictions/other", texts[0])
                    ask("DELETE", f"{url}/models/other")
                    counts["registered"] += 1
                    # By then the model has finished its requests.
                    time.sleep(0.2)
                    samples.append((time.monotonic() - start, *(memory(server.pid, field) for field in FIELDS)))
                except Exception as e:
                    failures.append(repr(e))

        threads = [threading.Thread(target=load, args=[i]) for i in range(4)] + [threading.Thread(target=churn)]
        for thread in threads:
            thread.start()
        medians, tenth = [], 6 * args.minutes
        for part in range(10):
            time.sleep(max(0, start + tenth * (part + 1) - time.monotonic()))
            of = [mib for at, *mib in list(samples) if tenth * part <= at < tenth * (part + 1)]
            medians.append([statistics.median(mib) for mib in zip(*of)])
            total, anonymous, mapped = medians[-1]
            least, most = min(mib[1] for mib in of), max(mib[1] for mib in of)
            print(
                f"{args.minutes * (part + 1) / 10:.1f} min: {total:.1f} MiB, made {anonymous:.1f} ({least:.1f} to {most:.1f}), "
                f"mapped {mapped:.1f}; {counts}, {len(failures)} failures", flush=True,
            )
        for thread in threads:
            thread.join()
        server.terminate()
        code = server.wait()
    total, made, mapped = (after / before for before, after in zip(medians[0], medians[-1]))
    print(
        f"memory {total:.3f} × its start, made {made:.3f} ×, mapped {mapped:.3f} ×; exit code {code}; "
        f"failures: {failures[:3]}"
    )
    sys.exit(total > 1.1 or made > 1.1 or code != 0 or bool(failures))


if __name__ == "__main__":
    main()
