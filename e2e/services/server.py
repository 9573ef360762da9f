"""A gRPC service in grpcio with one method of each kind: server.py PORT NAME. It ends in good order at SIGTERM.

It has three names: its own, and those under which HAProxy and Envoy pass calls on to it.
"""

import signal
import sys
import threading

import grpc
from concurrent import futures


def unary(message, context):
    context.set_trailing_metadata((("x-name", sys.argv[2]),))
    if message == b"fail":
        context.abort(grpc.StatusCode.DATA_LOSS, "100% 坏")
    if message == b"sleep":
        # Until the caller gives up.
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait(20)
    return message


def down(message, _context):
    for n in range(int(message)):
        yield b"%d" % n


def up(messages, _context):
    return b"+".join(messages)


def both(messages, _context):
    yield from messages


def handlers(service):
    return grpc.method_handlers_generic_handler(service, {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Down": grpc.unary_stream_rpc_method_handler(down),
        "Up": grpc.stream_unary_rpc_method_handler(up),
        "Both": grpc.stream_stream_rpc_method_handler(both),
    })


large = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
server = grpc.server(futures.ThreadPoolExecutor(64), options=large)
server.add_generic_rpc_handlers([handlers(f"acme.{name}") for name in ["Kinds", "ByHaproxy", "ByEnvoy"]])
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
over = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
over.wait()
server.stop(10).wait()
