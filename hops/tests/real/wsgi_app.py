import time


def app(environ, start_response):
    status, body = "200 OK", b"hello"
    if environ["PATH_INFO"] == "/upload":
        status, body = "413 Content Too Large", b"too large"
    elif environ["PATH_INFO"] == "/slow":
        time.sleep(0.5)
        body = b"slow"
    start_response(status, [("Content-Length", str(len(body)))])
    return [body]
