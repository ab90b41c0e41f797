import { writeSync } from "node:fs";
import { PGlite } from "@electric-sql/pglite";
import { vector } from "@electric-sql/pglite-pgvector";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

// A database server in a process of its own, which can be killed: `node --import tsx database.ts <folder> <port>`. It
// says its address once it answers.
const [, , folder = "", port = "0"] = process.argv;
const database = await PGlite.create({ dataDir: folder, extensions: { vector } });
const server = new PGLiteSocketServer({ db: database, port: Number(port), host: "127.0.0.1", maxConnections: 20 });
await server.start();
writeSync(1, `${server.getServerConn()}\n`);
