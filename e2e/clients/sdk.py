"""What a program with the unmodified SDK does: MESH_ADDRESS and MESH_BFIA_PROTO say where and how (PTP sections 3.5 and 6)."""

import os
import sys

import mesh
from mesh import ServiceLoader, Transport

BYTES = b"hello-\x00\xff"


def check(what, is_so):
    if not is_so:
        print(f"FAILED: {what}", flush=True)
        os._exit(1)


def is_empty(pop):
    # The SDK reads the number of its packets out of an empty answer, and fails over it: the sign that one came in time.
    try:
        pop()
    except ValueError:
        return True
    return False


mesh.start()
session = ServiceLoader.load(Transport).get("mesh").open(f"sdk-{sys.argv[1]}", {})
session.push(BYTES, {}, "bytes")
check("bytes come back as they are", session.pop(5000, "bytes") == BYTES)
session.push(b"", {}, "empty")
check("an empty message", session.pop(5000, "empty") == b"")
large = bytes(range(256)) * (3 << 12)
session.push(large, {}, "large")
check("a message in packets", session.pop(5000, "large") == large)
check("an empty pop ends before its deadline", is_empty(lambda: session.pop(2000, "nothing")))
session.push(BYTES, {}, "released")
session.release(0, "released")
check("a release frees the packets of its topic", is_empty(lambda: session.pop(2000, "released")))
print("passed", flush=True)
# The SDK's own threads go on.
os._exit(0)
