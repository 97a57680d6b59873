const express = require("express");
const app = express();
// A guard before the body parser, which itself would read all before it refuses. The connection stays: what is still
// uploaded is read and thrown away.
app.post("/upload", (request, response) => response.status(413).send("too large"));
app.get("/slow", (request, response) => setTimeout(() => response.send("slow"), 500));
app.get("/", (request, response) => response.send("hello"));
app.listen(Number(process.env.PORT), "127.0.0.1");
