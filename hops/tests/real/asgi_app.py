import asyncio


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    status, body = 200, b"hello"
    if scope["path"] == "/upload":
        status, body = 413, b"too large"
    elif scope["path"] == "/slow":
        await asyncio.sleep(0.5)
        body = b"slow"
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
