import { openCredentials } from "../../src/storage/credentials.ts";

// A process of its own, for the tests: adds accounts to a data folder, one update each, and says when it has begun.
const [folder = "", name = "", count = "0"] = process.argv.slice(2);
const credentials = openCredentials(folder, { deadAfterMs: 60_000, longestWaitMs: 120_000 });
for (let n = 0; n < Number(count); n++) {
  const one = {
    email: `${name}-${n}@mail.org`,
    password: "x".repeat(2000),
    password_made_here: true,
    code_sent_at: null,
  };
  await credentials.update((it) => ({ ...it, pending: [...it.pending.slice(-200), one] }));
  if (n === 0) process.stdout.write("begun\n");
}
