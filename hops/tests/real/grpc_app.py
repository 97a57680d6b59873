import asyncio
import os

import grpc


async def say(request, context):
    return b"hello " + request


async def echo(requests, context):
    async for request in requests:
        yield request


async def slow(request, context):
    await asyncio.sleep(0.5)
    return b"slow"


async def fail(request, context):
    await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")


class Shop(grpc.GenericRpcHandler):
    handlers = {
        "/shop.Shop/Say": grpc.unary_unary_rpc_method_handler(say),
        "/shop.Shop/Echo": grpc.stream_stream_rpc_method_handler(echo),
        "/shop.Shop/Slow": grpc.unary_unary_rpc_method_handler(slow),
        "/shop.Shop/Fail": grpc.unary_unary_rpc_method_handler(fail),
    }

    def service(self, details):
        return self.handlers.get(details.method)


async def main():
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Shop()])
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    await server.start()
    await server.wait_for_termination()


asyncio.run(main())
