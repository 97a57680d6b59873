// Refuses at once, reads no more, and closes.
require("http")
  .createServer((request, response) => {
    if (request.url === "/upload") {
      response.writeHead(413, { connection: "close", "content-length": 9 });
      response.end("too large");
    } else if (request.url === "/slow") {
      setTimeout(() => response.end("slow"), 500);
    } else {
      response.end("hello");
    }
  })
  .listen(Number(process.env.PORT), "127.0.0.1");
