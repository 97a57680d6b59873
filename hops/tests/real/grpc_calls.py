import asyncio
import sys

import grpc


async def main():
    async with grpc.aio.insecure_channel(sys.argv[1]) as channel:
        say = channel.unary_unary("/shop.Shop/Say")
        assert await say(b"you") == b"hello you"

        call = channel.stream_stream("/shop.Shop/Echo")()
        for size in [0, 1, 1000, 65536, 1 << 20]:
            message = b"x" * size
            await call.write(message)
            assert await call.read() == message

        async def write_small_ones():
            for _ in range(5000):
                await call.write(b"abc")
            await call.done_writing()

        writing = asyncio.create_task(write_small_ones())
        count = 0
        while (message := await call.read()) is not grpc.aio.EOF:
            assert message == b"abc"
            count += 1
        await writing
        assert count == 5000 and await call.code() == grpc.StatusCode.OK

        try:
            await channel.unary_unary("/shop.Shop/Fail")(b"")
        except grpc.aio.AioRpcError as error:
            print(error.code().name, error.details())


asyncio.run(main())
