"""Python's `websockets` at a listener that compresses: what it says comes back, whole, in fragments, and uncompressed."""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

TEXTS = ["", "short", "the same words again and again " * 2000, "".join(chr(0x4E00 + n) for n in range(9000))]
SIZES = [0, 1, 127, 65536, 500_000]
# The default offer, one that asks for everything, and none.
OFFERS = {
    "default": ({"compression": "deflate"}, True),
    "everything": (
        {
            "compression": None,
            "extensions": [
                ClientPerMessageDeflateFactory(
                    server_no_context_takeover=True,
                    client_no_context_takeover=True,
                    server_max_window_bits=15,
                    client_max_window_bits=12,
                )
            ],
        },
        True,
    ),
    "a window of 9 bits": (
        {"compression": None, "extensions": [ClientPerMessageDeflateFactory(server_max_window_bits=9)]},
        False,
    ),
    "none": ({"compression": None}, False),
}


async def talk(url, name, options, is_agreed):
    async with connect(url, max_size=2**21, **options) as socket:
        agreed = [extension.name for extension in socket.protocol.extensions]
        assert (agreed == ["permessage-deflate"]) == is_agreed, (name, agreed)
        messages = TEXTS + [bytes(n % 251 for n in range(size)) for size in SIZES]
        for message in messages:
            await socket.send(message)
            back = await socket.recv()
            assert back == message, (name, len(message), len(back))
        # In fragments, and several under way.
        await socket.send(TEXTS[2][n : n + 1000] for n in range(0, len(TEXTS[2]), 1000))
        assert await socket.recv() == TEXTS[2], name
        for n in range(200):
            await socket.send(f"{n} {TEXTS[2][:2000]}")
        for n in range(200):
            assert (await socket.recv()).startswith(f"{n} "), name
        await (await socket.ping())


async def main(url):
    for name, (options, is_agreed) in OFFERS.items():
        await talk(url, name, options, is_agreed)
        print(f"websockets: {name}: {'compressed' if is_agreed else 'as it is'}")


asyncio.run(main(sys.argv[1]))
