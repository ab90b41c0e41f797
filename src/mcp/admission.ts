import { setMaxListeners } from "node:events";
import { CheckError } from "../errors.ts";

/** Bytes of files that all calls together hold. A call also holds its upload, which is a copy. */
const MAX_BYTES = 96 * 2 ** 20;
/** How long an answer may wait to be read by its client before it is given up. */
const MAX_UNREAD_MS = 60_000;

type File = Uint8Array | { readonly bytes: Uint8Array };
/** Reads a file of at most `maxBytes` as soon as there is room for it. */
export type Load = <T extends File>(maxBytes: number, read: () => Promise<T>) => Promise<T>;

/** The way of an answer to its client, where that can take long. */
export interface Delivery {
  /** Resolves when the client has the answer, or has gone. */
  readonly ended: Promise<unknown>;
  giveUp(): void;
}

export interface Admission {
  /**
   * Runs a call, which is to read its files by `load`.
   *
   * @throws CheckError `rate_limited` for one too many, `cancelled` while it waits, `no_answer` when the server stops.
   */
  admit<T>(
    call: (load: Load) => Promise<T>,
    options: { readonly signal: AbortSignal; readonly delivery?: Delivery | undefined },
  ): Promise<T>;
}

/**
 * Bounds what calls take at once. One over `maxCalls`, unread answers included, is refused at once; the others wait
 * for memory before they read a file. Those that still run when `stopped` aborts are answered with that.
 */
export function openAdmission(maxCalls: number, stopped: AbortSignal, maxBytes = MAX_BYTES): Admission {
  let calls = 0;
  let held = 0;
  const waiting = new Set<{ readonly bytes: number; enter(): void }>();
  setMaxListeners(0, stopped);

  function letIn(): void {
    for (const next of waiting) {
      if (held > 0 && held + next.bytes > maxBytes) return;
      waiting.delete(next);
      held += next.bytes;
      next.enter();
    }
  }

  function free(bytes: number): void {
    held -= bytes;
    letIn();
  }

  function room(bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        waiting.delete(place);
        reject(new CheckError("cancelled", "The call was cancelled."));
        letIn();
      };
      const place = {
        bytes,
        enter() {
          signal.removeEventListener("abort", leave);
          resolve();
        },
      };
      if (signal.aborted) return leave();
      signal.addEventListener("abort", leave, { once: true });
      waiting.add(place);
      letIn();
    });
  }

  /** What one call holds until it is over. */
  function share(signal: AbortSignal) {
    let own = 0;
    let isOver = false;
    let entered: Promise<void> | undefined;
    const load: Load = async (maxBytes, read) => {
      if (entered === undefined) {
        entered = room(maxBytes, signal);
        await entered;
      } else {
        // A second file does not wait for room: two calls that hold one file each would wait for each other.
        await entered;
        held += maxBytes;
      }
      let kept = 0;
      try {
        const file = await read();
        kept = isOver ? 0 : sizeOf(file);
        own += kept;
        return file;
      } finally {
        free(maxBytes - kept);
      }
    };
    const end = () => {
      isOver = true;
      free(own);
    };
    return { load, end };
  }

  return {
    async admit(call, { signal, delivery }) {
      if (calls >= maxCalls) {
        const options = { retryAfterSeconds: 5 };
        throw new CheckError("rate_limited", `The server is busy: ${maxCalls} calls are under way.`, options);
      }
      calls += 1;
      const { load, end } = share(signal);
      const work = call(load).finally(end);
      try {
        return await until(stopped, work);
      } finally {
        delivered(delivery).then(() => {
          calls -= 1;
        });
      }
    },
  };
}

function sizeOf(file: File): number {
  return (file instanceof Uint8Array ? file : file.bytes).length;
}

function until<T>(stopped: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new CheckError("no_answer", "The server was stopped before the answer came."));
    stopped.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => stopped.removeEventListener("abort", stop));
  });
}

async function delivered(delivery: Delivery | undefined): Promise<void> {
  if (delivery === undefined) return;
  const late = setTimeout(delivery.giveUp, MAX_UNREAD_MS);
  await delivery.ended;
  clearTimeout(late);
}
