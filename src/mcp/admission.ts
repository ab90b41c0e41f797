import { setMaxListeners } from "node:events";
import { CheckError, cancelled } from "../errors.ts";
import { Turns } from "../turns.ts";

/** The most bytes of files that all calls together hold. A call also holds its upload, which is a copy. */
const MAX_BYTES = 96 * 2 ** 20;
/** How long a result may wait for its client to read it. */
const MAX_UNREAD_MS = 60_000;

type File = Uint8Array | { readonly bytes: Uint8Array };
/** Reads a file of at most `maxBytes` once there is memory for it. */
export type Load = <T extends File>(maxBytes: number, read: () => Promise<T>) => Promise<T>;

/** The delivery of a result to its client, if that can take long. */
export interface Delivery {
  /** Resolves when the client has the result or has gone. */
  readonly ended: Promise<unknown>;
  giveUp(): void;
}

export interface Admission {
  /**
   * Runs a call, which reads its files with `load`.
   *
   * @throws CheckError `rate_limited` above the limit, `cancelled` while it waits, `no_answer` when the server stops.
   */
  admit<T>(
    call: (load: Load) => Promise<T>,
    options: { readonly signal: AbortSignal; readonly delivery?: Delivery | undefined },
  ): Promise<T>;
}

/**
 * Limits concurrent calls. A call above `maxCalls`, unread results included, is refused at once; the others wait for
 * memory before they read a file, and their clients take turns. Calls still running when `stopped` aborts end with that
 * error.
 */
export function openAdmission(maxCalls: number, stopped: AbortSignal, maxBytes = MAX_BYTES): Admission {
  let calls = 0;
  let held = 0;
  const waiting = new Turns<{ readonly bytes: number; enter(): void }>();
  setMaxListeners(0, stopped);

  function admitWaiting(): void {
    for (let { next } = waiting; next !== undefined; { next } = waiting) {
      if (held > 0 && held + next.bytes > maxBytes) return;
      waiting.delete(next);
      held += next.bytes;
      next.enter();
    }
  }

  function free(bytes: number): void {
    held -= bytes;
    admitWaiting();
  }

  function reserve(bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        waiting.delete(place);
        reject(cancelled());
        admitWaiting();
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
      admitWaiting();
    });
  }

  /** The memory that one call holds until it ends. */
  function share(signal: AbortSignal) {
    let own = 0;
    let isOver = false;
    let entered: Promise<void> | undefined;
    const load: Load = async (maxBytes, read) => {
      if (entered === undefined) {
        entered = reserve(maxBytes, signal);
        await entered;
      } else {
        // A second file does not wait for memory: two calls with one file each would wait for each other.
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
    const stop = () => reject(new CheckError("no_answer", "The server was stopped before the result was there."));
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
