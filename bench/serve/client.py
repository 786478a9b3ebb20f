"""Makes load from Python where there is no `oha`: threads with one connection each, closed or open loop.

At the request rates of one machine it uses a few percent of a core; `oha` uses less.
"""

import http.client
import itertools
import threading
import time
from collections import Counter
from urllib.parse import urlsplit


def load(url, bodies, seconds, concurrency, rate=None):
    """Latencies in seconds of the answers with status 200, a count of all codes and errors, and the seconds it took.

    With `rate`, request i is due at i / rate; its latency counts from then, even if the client sends it late.
    """
    where = urlsplit(url)
    latencies, codes, counter = [], Counter(), itertools.count()
    start = time.perf_counter()

    def work():
        connection = http.client.HTTPConnection(where.netloc, timeout=60)
        while True:
            i = next(counter)
            due = start + i / rate if rate else time.perf_counter()
            if due >= start + seconds:
                return
            time.sleep(max(0, due - time.perf_counter()))
            try:
                headers = {"Content-Type": "text/plain"}
                connection.request("POST", where.path, bodies[i % len(bodies)].encode(), headers)
                answer = connection.getresponse()
                answer.read()
                codes[str(answer.status)] += 1
                if answer.status == 200:
                    latencies.append(time.perf_counter() - due)
            except OSError as e:
                codes[type(e).__name__] += 1
                connection.close()

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(latencies), dict(codes), time.perf_counter() - start
