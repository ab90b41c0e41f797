/** Writes src/listing.json anew, after a change of a tool or a prompt. */
import { writeFileSync } from "node:fs";
import { makeListing } from "../src/listing.ts";

writeFileSync(new URL("../src/listing.json", import.meta.url), `${JSON.stringify(makeListing(), null, 2)}\n`);
