/** Of a change: its file in src, without the extension, and what becomes what. */
export interface Change {
  readonly file: string;
  readonly change: string;
}

/**
 * Changes that no test notices, by the reason why none does, and by file. The runner prints a change as it stands here.
 */
const REASONS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  "What it would tell apart does not occur: the type, or a condition before it, excludes it.": {
    "decision/decision": [
      "thresholds?.operator -> thresholds.operator (2 of 4)", // the doubt applies only where there is one
      "score !== null -> true (2 of 4)", // a doubtful match has one
      "score !== null -> true (3 of 4)", // the band is shown beside a score alone
      "score !== null -> true (4 of 4)", // null is above nothing
      "MATCH_BANDS.find(([from]) => score >= from)?.[1] -> MATCH_BANDS.find(([from]) => score >= from)[1]", // one is from 0
      "warnings[at]?.advice -> warnings[at].advice", // as many as before
      '[] -> ["Stryker was here"] (8 of 11)', // among the advice that is dropped
    ],
    "decision/search": ["vendorData !== undefined -> true"], // a match has null
    file: [
      'part.split(".")[0]?.trim -> part.split(".")[0].trim',
      "false -> true (1 of 9)", // what is thrown is caught
      "{ return undefined; } -> {} (1 of 2)",
      "{ return undefined; } -> {} (2 of 2)",
      "access.auditLog !== undefined -> true", // no name, no file
      "/^(EACCES|EPERM)$/ -> /(EACCES|EPERM)$/", // no other code holds one of them
      "/^(EACCES|EPERM)$/ -> /^(EACCES|EPERM)/",
      "next === undefined -> false", // the error takes undefined for none
    ],
    "images/image": [
      "type !== undefined -> true", // no type is none of the table
      "type === undefined -> false",
      "/^image\\/(apng|avif|hei[cf](-sequence)?)$/ -> /image\\/(apng|avif|hei[cf](-sequence)?)$/", // no other type holds one
      "/^image\\/(apng|avif|hei[cf](-sequence)?)$/ -> /^image\\/(apng|avif|hei[cf](-sequence)?)/",
      "{ ...limits, convert: undefined } -> {}", // the one that is read
      "FOREIGN_TYPES[type]?.name -> FOREIGN_TYPES[type].name", // each that is converted has a row
    ],
    "images/metadata": [
      "at < 0 -> at <= 0", // it starts beyond
      "end - 4 -> end + 4", // no entry ends there
      "value >= 1 -> value > 1", // 1 is upright
    ],
    "providers/http/client": [
      "{ headers: {}, body: null } -> {}", // the same request
      "!limit.signal.aborted -> false", // what else fails has become a refusal
      "{ cause } -> {} (3 of 4)",
      'holders.flatMap(({ secrets = [] }) => secrets).filter((secret) => secret !== "") -> holders.flatMap(({ secrets = [] }) => secrets)',
      '[] -> ["Stryker was here"] (2 of 2)',
      "next === undefined -> false", // the error takes undefined for none
      "retryAfterSeconds !== undefined -> true", // not below 5 either
      "response.statusCode >= 200 -> true", // others never end a call
      "reply.status >= 200 -> true",
      'typeof header !== "string" -> false', // a list is no number and no date
      "status < 400 -> status <= 400", // each provider has a row of its own
    ],
    "providers/http/faults": [
      "fault.next === undefined -> false",
      "!(thrown instanceof Error) -> false",
      "thrown.cause === undefined -> true", // undici's own have codes
    ],
    "providers/http/json": [
      "[0] -> []",
      "at < text.length -> at <= text.length (1 of 2)",
      "at < text.length -> at <= text.length (2 of 2)",
    ],
    "storage/lock": ["{ id: undefined, since: start } -> {}"], // both are set before they are compared
    "storage/folder": [
      "{ bigint: true } -> {} (1 of 2)", // asked only whether it is a file
      "true -> false (2 of 4)",
    ],
    "providers/on-device/search": [
      '[] -> ["Stryker was here"] (1 of 2)', // no outcome
      "vendorData === undefined -> false", // a stored one is null
    ],
    "providers/on-device/gallery/sqlite": [
      "truncateLog.get()?.busy -> truncateLog.get().busy", // the pragma has one row
    ],
    "providers/on-device/gallery/embedding": [
      "Math.abs(lengthOf(embedding) - 1) <= LENGTH_TOLERANCE -> Math.abs(lengthOf(embedding) - 1) < LENGTH_TOLERANCE", // no sum of floats is that number
    ],
    "providers/on-device/gallery/sqlite/distance": [
      "{ // No package for this platform, or Node was told to load no native code. return false; } -> {}", // undefined is false
      "i < a.length -> i <= a.length", // beyond the end is 0
      "i < COMPONENTS -> i <= COMPONENTS",
      "blob.byteOffset % Float32Array.BYTES_PER_ELEMENT === 0 -> true", // SQLite's are aligned
      "blob.byteOffset % Float32Array.BYTES_PER_ELEMENT -> blob.byteOffset * Float32Array.BYTES_PER_ELEMENT",
      "blob.slice() -> blob",
    ],
    "providers/on-device/gallery/sqlite/failure": [
      "result !== undefined -> true", // it has no row
      '!(thrown instanceof Error) || errnoOf(thrown) !== "ERR_SQLITE_ERROR" -> false', // others have no code and no such words
      '!(thrown instanceof Error) || errnoOf(thrown) !== "ERR_SQLITE_ERROR" -> !(thrown instanceof Error) && errnoOf(thrown) !== "ERR_SQLITE_ERROR"',
      "next === undefined -> false", // the error takes undefined for none
      'errnoOf(thrown) !== "ERR_SQLITE_ERROR" -> false',
      '"errcode" in thrown && typeof thrown.errcode === "number" -> "errcode" in thrown || typeof thrown.errcode === "number"',
      'typeof thrown.errcode === "number" -> true', // each is one
    ],
  },
  "Something else says the same: both would have to go.": {
    "decision/search": ["blocked.length > 0 -> false (1 of 2)"], // the warning declines, too
    file: [
      "held !== undefined -> false", // the path that is resolved again says it, and the other way round
      "{ try { return readlinkSync(`/proc/self/fd/{file}`); } catch { return undefined; } } -> {}",
      "{ return readlinkSync(`/proc/self/fd/{file}`); } -> {}",
      "false -> true (8 of 9)", // refused as an error
    ],
    "providers/on-device/gallery/cursor": [
      "/^seq:(\\d{1,15})$/ -> /seq:(\\d{1,15})$/", // it is written back and compared
      "/^seq:(\\d{1,15})$/ -> /^seq:(\\d{1,15})/",
    ],
    "providers/on-device/gallery/sqlite/failure": ["result === undefined -> false"], // it has no row
  },
  "Only how fast, or how often, it is done.": {
    file: [
      "size <= LONGEST_AT_ONCE && blocks * BLOCK_BYTES >= size -> true",
      "size <= LONGEST_AT_ONCE && blocks * BLOCK_BYTES >= size -> false",
      "size <= LONGEST_AT_ONCE && blocks * BLOCK_BYTES >= size -> size <= LONGEST_AT_ONCE || blocks * BLOCK_BYTES >= size",
      "size <= LONGEST_AT_ONCE -> true",
      "size <= LONGEST_AT_ONCE -> size < LONGEST_AT_ONCE",
      "size <= LONGEST_AT_ONCE -> size > LONGEST_AT_ONCE",
      "blocks * BLOCK_BYTES >= size -> true",
      "blocks * BLOCK_BYTES >= size -> blocks * BLOCK_BYTES > size",
      "blocks * BLOCK_BYTES >= size -> blocks * BLOCK_BYTES < size",
      "blocks * BLOCK_BYTES -> blocks / BLOCK_BYTES",
      "(folder) => isInside(real, folder) -> () => undefined", // resolved, they are asked again
      "convert === true -> true", // what is too large is refused when it was read
    ],
    "images/image": ["{ signal } -> {}"], // nobody waits for that conversion any more
    "providers/http/client": [
      "Math.random() * JITTER_MS * (repeats + 1) -> Math.random() * JITTER_MS / (repeats + 1)",
      "Math.random() * JITTER_MS -> Math.random() / JITTER_MS",
      "{ timeout: CONNECT_TIMEOUT_MS } -> {}", // undici's own is as long
      "{ once: true } -> {}", // it is removed at the end
      "true -> false (2 of 2)",
    ],
    "storage/lock": [
      "pollMs * (0.5 + Math.random()) -> pollMs / (0.5 + Math.random())",
      "0.5 + Math.random() -> 0.5 - Math.random()",
    ],
    "providers/on-device/gallery/sqlite": [
      "true -> false (1 of 4)", // with and without the extension the answers are the same
      "RETRY_MS * (0.5 + Math.random()) -> RETRY_MS / (0.5 + Math.random())",
      "0.5 + Math.random() -> 0.5 - Math.random()",
      "!owesErasure || !database.isOpen -> false",
      "!owesErasure || !database.isOpen -> !owesErasure && !database.isOpen",
      "content === sound?.content && performance.now() < sound.until -> false",
      "{ content, until: performance.now() + SOUND_FOR_MS } -> {}",
      "performance.now() + SOUND_FOR_MS -> performance.now() - SOUND_FOR_MS",
      "{ allowExtension: extension } -> {}",
    ],
    "providers/on-device/gallery/embedding": [
      "embedding.length >= COMPONENTS -> false", // a copy is the same
      "embedding.length >= COMPONENTS -> embedding.length > COMPONENTS",
    ],
    "providers/on-device/gallery/sqlite/distance": [
      "{ deterministic: true } -> {} (1 of 3)",
      "true -> false (1 of 5)",
      "{ deterministic: true } -> {} (2 of 3)",
      "true -> false (2 of 5)",
      "{ deterministic: true } -> {} (3 of 3)",
      "true -> false (3 of 5)",
      "blob.byteOffset % Float32Array.BYTES_PER_ELEMENT === 0 -> false", // a copy is the same
      "blob.byteOffset % Float32Array.BYTES_PER_ELEMENT === 0 -> blob.byteOffset % Float32Array.BYTES_PER_ELEMENT !== 0",
    ],
  },
  "The cause of an error, which only the log gets.": {
    file: ["{ cause } -> {}"],
    "images/image": ["{ width, height } -> {} (1 of 2)", "{ type } -> {}"],
    "providers/http/client": ["{ cause } -> {} (2 of 4)", "{ cause } -> {} (4 of 4)"],
    "providers/http/faults": [
      "{ const text = thrown instanceof Error ? `{thrown.name} {codeOf(thrown)}: {thrown.message}` : String(thrown); return exc -> {}",
    ],
    "storage/credentials": ["{ throw damaged(`its {json.length} characters are not JSON`); } -> {}"],
    "providers/on-device/gallery/embedding": [
      "{ cause: `embedding of {embedding.length} components and length {lengthOf(embedding)}`, } -> {}",
    ],
  },
  "It takes two processes within microseconds, in a folder that is one user's alone.": {
    file: ["false -> true (3 of 9)"],
    "storage/credentials": [
      "handle === undefined -> false",
      "{ [file]: found } -> {}", // looked at right before
      "loaded?.stored -> loaded.stored",
      "{ force: true } -> {}", // of what another removes
      "true -> false (2 of 2)",
    ],
    "storage/lock": [
      "id !== undefined -> true",
      "left !== undefined -> true",
      "{ force: true } -> {} (1 of 2)",
      "true -> false (1 of 3)",
      "{ force: true } -> {} (2 of 2)",
      "true -> false (2 of 3)",
    ],
    "storage/folder": [
      "stats !== undefined -> true",
      "constants.O_NONBLOCK ?? 0 -> constants.O_NONBLOCK && 0", // a FIFO that came after the look
      "{ await handle?.close(); throw thrown; } -> {}",
      "handle?.close -> handle.close (1 of 2)",
    ],
    "providers/on-device/gallery/sqlite": [
      "database?.close -> database.close", // what lies there was looked at
    ],
  },
  "Only Windows is different.": {
    "storage/folder": [
      'platform() === "win32" -> false',
      "handle?.sync -> handle.sync",
      "handle?.close -> handle.close (2 of 2)",
    ],
  },
  "Only a power cut, or a disk that lets no file be made or loses bits, shows it.": {
    "storage/folder": [
      '{ const handle = await open(folder, "r").catch(() => undefined); await handle?.sync().catch(() => {}); await handle?.clo -> {}',
      "{ force: true } -> {}",
      "true -> false (3 of 4)",
    ],
    "providers/on-device/gallery/sqlite": [
      "performance.now() < sound.until -> true",
      "performance.now() < sound.until -> performance.now() <= sound.until",
      "performance.now() < sound.until -> performance.now() >= sound.until",
      "database.isTransaction -> true", // a full disk, in another process: gallery/trouble
    ],
    "providers/on-device/gallery/mark": [
      "{ await rm(temporary, { force: true }); throw thrown; } -> {}",
      "{ force: true } -> {}",
      "true -> false",
    ],
    "providers/on-device/gallery/sqlite/failure": [
      "resultOf(thrown) === undefined -> true", // a disk that became read-only, in another process: gallery/trouble
      "resultOf(thrown) === undefined -> false",
      "resultOf(thrown) === undefined -> resultOf(thrown) !== undefined",
    ],
  },
  "One moment in which the other says the same.": {
    "providers/http/client": ["performance.now() + waitMs >= deadline -> performance.now() + waitMs > deadline"],
    "storage/lock": [
      "now - seen.since > deadAfterMs -> now - seen.since >= deadAfterMs",
      "now - start > longestWaitMs -> now - start >= longestWaitMs",
      "waits > 2 -> waits >= 2",
    ],
    "providers/on-device/gallery/sqlite": [
      "performance.now() > deadline -> performance.now() >= deadline (1 of 2)",
      "performance.now() > deadline -> performance.now() >= deadline (2 of 2)",
    ],
  },
  "The order of equals, of which the same is told.": {
    "decision/search": ["b.similarity > a.similarity -> b.similarity >= a.similarity"],
  },
};

export const UNNOTICED: readonly Change[] = Object.values(REASONS).flatMap((files) =>
  Object.entries(files).flatMap(([file, changes]) => changes.map((change) => ({ file, change }))),
);
