"""A WebSocket service that echoes, and a caller that checks it.

    ws.py serve PORT
    ws.py call ADDRESS PATH [NODE]    NODE is the target where it is not the node that is called
    ws.py refused ADDRESS PATH NODE   prints the code of the refusal
"""

import sys

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

mode, address = sys.argv[1:3]


def echo(socket):
    for message in socket:
        socket.send(message)


def opened():
    target = {"x-ptp-target-node-id": sys.argv[4]} if len(sys.argv) > 4 else {}
    return connect(f"ws://{address}{sys.argv[3]}", additional_headers=target, max_size=None, proxy=None)


if mode == "serve":
    with serve(echo, "127.0.0.1", int(address), max_size=None) as server:
        server.serve_forever()
elif mode == "refused":
    try:
        opened()
        sys.exit("FAILED: it was not refused")
    except InvalidStatus as refusal:
        print(refusal.response.status_code, refusal.response.body.decode())
else:
    with opened() as socket:
        for message in ["text", b"bytes", "x" * 100, bytes(range(256)) * (1 << 14)]:
            socket.send(message)
            if socket.recv(timeout=30) != message:
                sys.exit(f"FAILED: {message[:20]} came back as something else")
        if not socket.ping().wait(30):
            sys.exit("FAILED: no pong")
    if socket.close_code != 1000:
        sys.exit(f"FAILED: closed with {socket.close_code}")
