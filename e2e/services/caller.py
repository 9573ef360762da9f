"""Callers of registered services. Says what failed, and ends with 1 if anything did.

    caller.py kinds ADDRESS SERVICE [NODE]    each kind of call of a gRPC service, which may be at a partner's node
    caller.py load ADDRESS SECONDS     calls by HTTP and gRPC, as many as there can be
"""

import http.client
import sys
import threading
import time

import grpc

mode, address, what = sys.argv[1:4]
target = tuple(("x-ptp-target-node-id", node) for node in sys.argv[4:])
LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def methods(service):
    channel = grpc.insecure_channel(address, options=LARGE)
    made = {
        "unary": channel.unary_unary(f"/{service}/Unary"),
        "down": channel.unary_stream(f"/{service}/Down"),
        "up": channel.stream_unary(f"/{service}/Up"),
        "both": channel.stream_stream(f"/{service}/Both"),
    }
    if not target:
        return made
    return {name: To(call) for name, call in made.items()}


class To:
    """A method at the target."""

    def __init__(self, call):
        self.call = call

    def __call__(self, *given, **named):
        return self.call(*given, metadata=target, **named)

    def with_call(self, *given, **named):
        return self.call.with_call(*given, metadata=target, **named)


def check(what, is_so):
    if not is_so:
        sys.exit(f"FAILED: {what}")


def refused(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    sys.exit("FAILED: it was not refused")


def kinds(service):
    call = methods(service)
    answer, done = call["unary"].with_call(b"hello", timeout=20)
    trailing = dict(done.trailing_metadata())
    check("unary, with its trailers", answer == b"hello" and trailing.get("x-name", "").startswith("grpc"))
    large = bytes(range(256)) * (1 << 15)
    check("8 MiB each way", call["unary"](large, timeout=60) == large)
    check("a stream down", list(call["down"](b"1000", timeout=20)) == [b"%d" % n for n in range(1000)])
    check("a stream up", call["up"](iter([b"a", b"b", b"c"]), timeout=20) == b"a+b+c")
    said, heard = [], []

    def in_turn():
        for n in range(20):
            # The next message waits for the answer to the last one.
            while len(heard) < n:
                time.sleep(0.001)
            said.append(n)
            yield b"%d" % n

    for message in call["both"](in_turn(), timeout=20):
        heard.append(message)
    check("messages in turn", heard == [b"%d" % n for n in range(20)] and len(said) == 20)
    error = refused(lambda: call["unary"](b"fail", timeout=20))
    check(f"a status with its text: {error}", (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "100% 坏"))
    error = refused(lambda: call["unary"](b"sleep", timeout=0.5))
    check(f"a deadline: {error}", error.code() == grpc.StatusCode.DEADLINE_EXCEEDED)
    other = grpc.insecure_channel(address).unary_unary("/acme.Nobody/Unary")
    error = refused(lambda: other(b"x", timeout=20))
    check(f"an unknown service: {error}", error.code() == grpc.StatusCode.UNIMPLEMENTED)


def load(seconds):
    end, errors, counts, lock = time.monotonic() + seconds, [], {"http": 0, "grpc": 0}, threading.Lock()

    def note(kind, error=None):
        with lock:
            counts[kind] += 1
            if error:
                errors.append(f"{kind}: {error}")

    def by_http():
        connection = http.client.HTTPConnection(address, timeout=20)
        while time.monotonic() < end:
            try:
                connection.request("POST" if counts["http"] % 2 else "GET", "/files/small", body=b"x")
                answer = connection.getresponse()
                body = answer.read()
                is_well = answer.status in (200, 405) and (answer.status == 405 or body == b"small\n")
                note("http", None if is_well else f"{answer.status} {body[:200]}")
            except OSError as error:
                note("http", repr(error))
                connection = http.client.HTTPConnection(address, timeout=20)

    def by_grpc():
        call = methods("acme.Kinds")
        while time.monotonic() < end:
            try:
                note("grpc", None if call["unary"](b"hello", timeout=20) == b"hello" else "another answer")
                list(call["down"](b"3", timeout=20))
            except grpc.RpcError as error:
                note("grpc", f"{error.code()} {error.details()}")

    threads = [threading.Thread(target=work) for work in [by_http] * 4 + [by_grpc] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{counts['http']} calls by HTTP, {counts['grpc']} by gRPC, {len(errors)} errors", flush=True)
    for error in errors[:10]:
        print(error, flush=True)
    check("no call may fail", not errors and min(counts.values()) > 0)


kinds(what) if mode == "kinds" else load(float(what))
