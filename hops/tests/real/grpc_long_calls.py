# Begins calls and a stream, and says so. The stream goes on when its input has a line.
import asyncio
import sys

import grpc


async def main():
    async with grpc.aio.insecure_channel(sys.argv[1]) as channel:
        slow = channel.unary_unary("/shop.Shop/Slow")
        calls = [slow(b"") for _ in range(10)]
        stream = channel.stream_stream("/shop.Shop/Echo")()
        await stream.write(b"before")
        assert await stream.read() == b"before"
        print("under way", flush=True)

        await asyncio.to_thread(sys.stdin.readline)
        for size in [1, 1000, 1 << 20]:
            message = b"x" * size
            await stream.write(message)
            assert await stream.read() == message
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        answers = [await call for call in calls]
        print(answers.count(b"slow"), (await stream.code()).name, flush=True)


asyncio.run(main())
