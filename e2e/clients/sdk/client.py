"""What a program with an unmodified SDK does, whichever its generation (PTP sections 3.5, 4.1, 6 and 7).

    client.py VERSION WAY    MESH_ADDRESS and MESH_BFIA_PROTO say where and how; PEER is another node, which becomes a partner
"""

import asyncio
import inspect
import json
import os
import sys
import traceback
import urllib.request

import grpc
import mesh
from mesh import MethodProxy, Network, Registry, ServiceLoader, Transport
from mesh.cause import MeshException, NotFoundException
from mesh.kinds import Registration, Resource, Route, Service
from mesh.prsim import KV, Metadata

VERSION, WAY = sys.argv[1:3]
NAME = f"sdk-{VERSION}-{WAY}"
OURS, PEER = os.environ["MESH_ADDRESS"], os.environ["PEER"]
# It sends packets, and reads their number first: an empty pop makes it fail over an empty number (PTP section 6.5).
SPLITS = VERSION == "0.0.29.12"
# It sends no metadata with a channel call: no session, no target (PTP section 4.1).
BARE = VERSION == "0.0.47.1"

# Without any metadata a session of the older ones is not named on the wire; and 0.0.19 must have a target to take away where
# it is not wanted. These ids are the SDKs' own placeholders, which stand for none (PTP section 8.2).
NOBODY = {
    Metadata.MESH_TARGET_NODE_ID.key(): "LX0000000000000",
    Metadata.MESH_TARGET_INST_ID.key(): "JG0000000000000000",
}

BYTES = b"hello-\x00\xff"
# Above what a gRPC library takes by default, and many packets for those that split.
LARGE = bytes(range(256)) * (5 << 12)
# Above what the nodes take.
TOO_LARGE = bytes(9 << 20)


async def done(result):
    """Waits for what the later generations give a promise of."""
    return await result if inspect.isawaitable(result) else result


async def code_of(call):
    """The code of the error that the SDK makes of an answer."""
    try:
        await done(call())
    except MeshException as e:
        return e.get_code()
    return "E0000000000"


async def pops_nothing(session, timeout, topic):
    try:
        return not await done(session.pop(timeout, topic))
    except ValueError:
        return SPLITS


async def is_in_time(session):
    """Whether an empty pop is answered before the SDK's own deadline, which is the pop's timeout: else it fails."""
    for timeout in [700, 700, 700, 5000, 20000]:  # the longer ones are for a machine that is busy otherwise
        try:
            return await pops_nothing(session, timeout, "nothing")
        except (MeshException, grpc.RpcError):
            pass
    return False


def check(what, is_so):
    if not is_so:
        raise AssertionError(what)


def topics(topic):
    """Sessions are apart; without one, topics must be."""
    return f"{NAME}-{topic}"


async def channel():
    transport = ServiceLoader.load(Transport).get("mesh")
    session = await done(transport.open(NAME, NOBODY))
    for what, payload in [("bytes", BYTES), ("a large message", LARGE), ("an empty message", b"")]:
        await done(session.push(payload, {}, topics(what)))
        if payload == BYTES:
            check("a peek leaves the message", await done(session.peek(topics(what))) == payload)
        check(f"{what} come back as they are", await done(session.pop(5000, topics(what))) == payload)
    check("a peek of nothing", not await done(session.peek(topics("nothing"))))
    check("an empty pop ends in time", await is_in_time(session))
    await done(session.push(BYTES, {}, topics("released")))
    await done(session.release(0, topics("released")))
    check("a release frees its topic, and its packets", not await done(session.peek(topics("released"))))

    wide = await done(transport.open(f"{NAME}-wide", NOBODY))
    refused = await code_of(lambda: wide.push(TOO_LARGE, {}, topics("too large")))
    check(f"a message above the limit: {refused}", refused == ("E0000000000" if SPLITS else "E0000000413"))
    await done(wide.release(0, topics("too large")))

    elsewhere = NOBODY | {Metadata.MESH_TARGET_NODE_ID.key(): "LX9999999999999"}
    stray = await done(transport.open(f"{NAME}-stray", elsewhere))
    refused = await code_of(lambda: stray.push(BYTES, {}, topics("stray")))
    check(f"a target of nobody: {refused}", BARE or refused == "E0000000618")
    over = await done(transport.open(f"{NAME}-over", NOBODY))
    await done(over.release(0, ""))
    refused = await code_of(lambda: over.push(BYTES, {}, topics("over")))
    check(f"a session that is over: {refused}", refused == ("E0000000000" if BARE else "E0000000608"))


async def generic():
    environ = await done(ServiceLoader.load(Network).get("mesh").get_environ())
    check(f"environ: {environ.node_id}", environ.node_id.startswith("LX"))
    registry = ServiceLoader.load(Registry).get("mesh")
    await done(registry.register(registration()))
    check("a registration is there", is_registered(Registration.COMPLEX))
    kv = ServiceLoader.load(MethodProxy).get_default().proxy(KV)
    try:
        await done(kv.get("x"))
        check("an unknown method is an error", False)
    except NotFoundException:
        pass
    # The SDK's own registration, which it renews every 30 s: the first comes soon after the start.
    for _ in range(300):
        if is_registered(Registration.METADATA):
            return
        await asyncio.sleep(0.1)
    check("the SDK has put its own registration", False)


def is_registered(kind):
    """What the node knows. The SDKs' own export fails over the content of every answer, which they declare as Any."""
    return any(entry["name"] == NAME for entry in ask(OURS, "mesh.registry.export", {"kind": kind}))


async def partners(own, theirs):
    """The calls by which nodes become partners: the one side is called by the SDK, the other by HTTP (PTP section 11)."""
    network = ServiceLoader.load(Network).get("mesh")
    # What the SDK calls by itself answers placeholders without asking; its proxy asks.
    said = (await done(network.proxy.get_environ())).node_id
    check(f"environ says who we are: {said}", said == own["node_id"])
    await done(network.refresh([route(theirs, PEER)]))
    check("a refresh makes a route", [edge["address"] for edge in ask(OURS, "mesh.net.edges", {})] == [PEER])
    check("the SDK reads the routes", [edge.node_id for edge in await done(network.get_routes())] == [theirs["node_id"]])
    await done(network.weave(route(theirs, PEER)))
    check("a weave waits there", status(PEER, own) & 128)
    ask(PEER, "mesh.net.ack", {"route": {"node_id": own["node_id"]}})
    check("their yes is known here", status(OURS, theirs) & 2)

    # And the other way round.
    ask(OURS, "mesh.net.disband", {"node_ids": [theirs["node_id"]]})
    offered = {"node_id": own["node_id"], "inst_id": own["inst_id"], "address": OURS, "guest_root": own["root_crt"]}
    # The disbanding ends their connection within a second; a call that it meets says that it is to be repeated.
    for _ in range(20):
        if post(PEER, "/mesh/invoke", {"mesh-urn": "mesh.net.weave"}, {"route": offered})["code"] == "E0000000000":
            break
        await asyncio.sleep(0.25)
    check("a weave waits here", status(OURS, theirs) & 128)
    await done(network.ack(named(theirs)))
    check("our yes is known there", status(PEER, own) & 2)
    for node, partner in [(OURS, theirs), (PEER, own)]:
        ask(node, "mesh.net.disband", {"node_ids": [partner["node_id"]]})


def become(node, node_id, inst_id):
    document = {"node_id": node_id, "inst_id": inst_id, "name": node_id, "address": node}
    check("an identity", post(node, "/v1/interconn/node/refresh", {}, document)["code"] == "E0000000000")
    return ask(node, "mesh.net.environ", {})


def named(identity):
    partner = Route()
    partner.node_id, partner.inst_id = identity["node_id"], identity["inst_id"]
    return partner


def route(identity, address):
    partner = named(identity)
    partner.address, partner.guest_root, partner.auth_code = address, identity["root_crt"], "blue whale"
    return partner


def status(node, partner):
    return ask(node, "mesh.net.edge", {"node_id": partner["node_id"]})["status"]


def ask(node, mpi, arguments):
    answer = post(node, "/mesh/invoke", {"mesh-urn": mpi}, arguments)
    check(f"{mpi}: {answer}", answer["code"] == "E0000000000")
    return answer.get("content")


def post(node, path, headers, document):
    call = urllib.request.Request(f"http://{node}{path}", data=json.dumps(document).encode(), headers=headers)
    with urllib.request.urlopen(call, timeout=30) as answer:
        return json.load(answer)


def registration():
    service = Service()
    service.urn, service.kind, service.proto, service.codec = f"/{NAME}/x", "Restful", "http", "json"
    service.address, service.lang, service.attrs = "127.0.0.1:9", "Python3", {}
    document = Registration()
    document.instance_id = document.address = "127.0.0.1:9"
    document.name, document.kind, document.timestamp = NAME, Registration.COMPLEX, 300_000
    document.attachments, document.content = {}, Resource()
    document.content.services = [service]
    return document


async def main():
    own, theirs = become(OURS, "LX0000010000280", "JG0100002800000000"), become(PEER, "LX0000010000270", "JG0100002700000000")
    await done(mesh.start())
    await channel()
    await generic()
    await partners(own, theirs)


try:
    asyncio.run(main())
    status = 0
except BaseException:
    traceback.print_exc()
    status = 1
sys.stdout.flush()
sys.stderr.flush()
# The SDK's own threads go on.
os._exit(status)
