import asyncio
import sys

import websockets


async def main():
    async with websockets.connect(f"ws://{sys.argv[1]}/", max_size=None) as socket:
        for size in [0, 1, 125, 126, 65536, 1 << 20]:
            message = b"x" * size
            await socket.send(message)
            assert await socket.recv() == message
    print("closed", socket.close_code)


asyncio.run(main())
