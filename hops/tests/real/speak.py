# Says each line of its input to a WebSocket and prints what comes back. At the end of its input it closes.
import asyncio
import sys

import websockets


async def speak(socket):
    print("open", flush=True)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            await socket.send(line.strip())
            print(await socket.recv(), flush=True)
        await socket.close()
    except websockets.ConnectionClosed:
        pass
    print("closed", socket.close_code, flush=True)


async def main():
    try:
        socket = await websockets.connect(f"ws://{sys.argv[1]}/")
    except ConnectionRefusedError:
        print("refused", flush=True)
    else:
        await speak(socket)


asyncio.run(main())
