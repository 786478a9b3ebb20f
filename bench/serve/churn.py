"""Load while models are registered and unregistered in a loop: no request fails, and memory stays.

    python3 bench/serve/churn.py --model MODEL_DIR --data data/banking77/test.csv [--minutes 10]

Four clients ask one model for embeddings while another model is registered, asked and unregistered over and over. Memory
(RSS) is compared with that after a tenth of the time, when every buffer of the load has been needed once.
"""

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from load import memory


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
        # Registered from inside the store: a link would lead out of it.
        inside = Path(store) / "again"
        subprocess.run(["cp", "-r", args.model, inside], check=True)
        command = [args.serve, "--model", f"m={args.model}", "--model-store", store, "--port", "0", "--json", "-q"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        url = json.loads(server.stdout.readline())["url"]
        end = time.monotonic() + 60 * args.minutes
        counts, failures = {"asked": 0, "registered": 0}, []

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
                except Exception as e:
                    failures.append(repr(e))

        threads = [threading.Thread(target=load, args=[i]) for i in range(4)] + [threading.Thread(target=churn)]
        for thread in threads:
            thread.start()
        samples = []
        for part in range(1, 11):
            time.sleep(max(0, end - time.monotonic() - 60 * args.minutes * (10 - part) / 10))
            samples.append(memory(server.pid))
            print(f"{part * args.minutes / 10:.1f} min: {samples[-1]:.0f} MiB, {counts}, {len(failures)} failures", flush=True)
        for thread in threads:
            thread.join()
        server.terminate()
        code = server.wait()
    growth = samples[-1] / samples[0]
    print(f"memory {growth:.3f} × its start; exit code {code}; failures: {failures[:3]}")
    sys.exit(growth > 1.1 or code != 0 or bool(failures))


if __name__ == "__main__":
    main()
