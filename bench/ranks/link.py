"""The bytes of payload a second between two network namespaces, as JSON. usage: link.py ADDRESS_OF_B NAMESPACE_A NAMESPACE_B"""

import json
import subprocess
import sys

address, a, b = sys.argv[1:]
BYTES, PORT = 100_000_000, 45_321
RECEIVE = f"""
import socket, time
with socket.create_server(("{address}", {PORT})) as server:
    print("ready", flush=True)
    line, _ = server.accept()
    begin, got = time.time(), 0
    while part := line.recv(1 << 20):
        got += len(part)
    print(got / (time.time() - begin))
"""
SEND = f"""
import socket
with socket.create_connection(("{address}", {PORT})) as line:
    line.sendall(bytes({BYTES}))
"""


def inside(namespace, code):
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


receiver = inside(b, RECEIVE)
assert receiver.stdout.readline() == "ready\n"
inside(a, SEND).wait()
print(json.dumps({"bytes_per_second": float(receiver.stdout.read())}))
