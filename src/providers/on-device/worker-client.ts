import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { CheckError } from "../../errors.ts";
import { cancelled } from "./cancelled.ts";
import type { Answer, Input, Job, OperationName, Output, WorkerData } from "./messages.ts";

/** Two a worker: while the networks are busy with the first, the second is decoded. More would only hold pictures. */
export const MAX_RUNNING = 2;
/** A caller beyond these would wait for about ten seconds; it is told to come again. */
const MAX_WAITING = 64;

/** One for each core, as long as they fit in memory. */
export const MAX_WORKERS = Math.min(availableParallelism(), 8);
/** What must be free for a further worker, which takes about 150 MB. */
const MIN_FREE_BYTES = 2 ** 29;
/** A further worker that had nothing to do for so long gives its memory back. */
const MAX_IDLE_MS = 30_000;
/** Of the first worker, while it is alone. Four are slower on two cores, and gain little on more. */
const MAX_THREADS = 2;

interface Pending {
  readonly job: Job;
  readonly resolve: (output: unknown) => void;
  readonly reject: (error: CheckError) => void;
}

interface Member {
  readonly worker: Worker;
  /** By the id of the job; also those whose caller has gone, until the worker is rid of them. */
  readonly running: Map<number, Pending>;
  idle?: NodeJS.Timeout | undefined;
}

export interface WorkerClient {
  call<N extends OperationName>(operation: N, input: Input<N>, signal: AbortSignal): Promise<Output<N>>;
  close(): Promise<void>;
}

/** Starts a worker at the first call, further ones when calls wait in line, and a new one after one died. */
export function workerClient(file: URL, { pack }: Pick<WorkerData, "pack">): WorkerClient {
  /** Not yet with a worker, in the order in which they came. */
  const waiting: Pending[] = [];
  const members: Member[] = [];
  let lastId = 0;
  let isClosed = false;

  function start(): Member {
    // The first has the cores to itself until there is so much to do that others come; these have one each.
    const threads = members.length === 0 ? Math.min(MAX_WORKERS, MAX_THREADS) : 1;
    const workerData: WorkerData = { pack, threads };
    // Standard output belongs to the protocol: what the worker writes there goes nowhere, as nobody reads the stream
    // (and a listener on it would keep the process alive). Its standard error is that of the process.
    // Experimental features that sharp uses are nothing that a user could act on.
    const execArgv = [...process.execArgv, "--disable-warning=ExperimentalWarning"];
    const worker = new Worker(file, { workerData, name: "face engine", stdout: true, execArgv });
    const member: Member = { worker, running: new Map() };
    members.push(member);
    worker.on("message", (answer: Answer) => settle(member, answer));
    worker.once("error", (cause) => lose(member, cause));
    worker.once("messageerror", (cause) => lose(member, cause));
    worker.once("exit", (code) => lose(member, `exit code ${code}`));
    return member;
  }

  function settle({ running }: Member, answer: Answer): void {
    const pending = running.get(answer.id);
    running.delete(answer.id);
    if ("output" in answer) pending?.resolve(answer.output);
    else {
      const { code, message, ...options } = answer.failure;
      pending?.reject(new CheckError(code, message, options));
    }
    advance();
  }

  /** A worker is gone, and with it what it worked at; where it was the last, also what waits. */
  function lose(member: Member, cause: unknown): void {
    if (!dismiss(member)) return;
    const lost = [...member.running.values(), ...(members.length === 0 ? waiting.splice(0) : [])];
    for (const { reject } of lost) {
      reject(
        isClosed
          ? new CheckError("cancelled", "The face engine is shutting down.")
          : new CheckError("internal", "The face engine stopped unexpectedly.", { cause }),
      );
    }
    advance();
  }

  /** @returns false where it had gone before */
  function dismiss(member: Member): boolean {
    const place = members.indexOf(member);
    if (place < 0) return false;
    members.splice(place, 1);
    clearTimeout(member.idle);
    void member.worker.terminate();
    return true;
  }

  function advance(): void {
    if (isClosed) return;
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      const member = takerOf();
      if (member === undefined) break;
      waiting.shift();
      clearTimeout(member.idle);
      member.idle = undefined;
      member.running.set(next.job.id, next);
      member.worker.postMessage(next.job);
    }
    for (const member of members) {
      // The process may end when nobody waits for an answer any more.
      if ([...member.running.values()].some(({ job }) => !isStopped(job))) member.worker.ref();
      else member.worker.unref();
      if (member !== members[0] && member.running.size === 0) {
        member.idle ??= setTimeout(() => dismiss(member), MAX_IDLE_MS).unref();
      }
    }
  }

  /** Who takes the next job: the first of those that have the least to do, or a new one. */
  function takerOf(): Member | undefined {
    const [least] = members.toSorted((a, b) => a.running.size - b.running.size);
    if (least === undefined) return start();
    if (least.running.size < MAX_RUNNING) return least;
    // One check alone never has so much waiting: it is not worth the 0.6 s that loading the networks takes.
    if (waiting.length < MAX_RUNNING || members.length >= MAX_WORKERS) return undefined;
    return process.availableMemory() > MIN_FREE_BYTES ? start() : undefined;
  }

  return {
    async call<N extends OperationName>(operation: N, input: Input<N>, signal: AbortSignal) {
      if (isClosed || signal.aborted) throw cancelled();
      if (waiting.length >= MAX_WAITING) {
        throw new CheckError("rate_limited", "Too many checks are waiting for the face engine.", {
          retryAfterSeconds: 5,
        });
      }
      lastId += 1;
      const job = { id: lastId, operation, input, stop: new Int32Array(new SharedArrayBuffer(4)) } as Job;
      const { promise, resolve, reject } = withResolvers();
      const pending: Pending = { job, resolve, reject };
      const abort = () => {
        Atomics.store(job.stop, 0, 1);
        const place = waiting.indexOf(pending);
        if (place >= 0) waiting.splice(place, 1);
        reject(cancelled());
        advance();
      };
      signal.addEventListener("abort", abort, { once: true });
      waiting.push(pending);
      advance();
      try {
        return (await promise) as Output<N>;
      } finally {
        signal.removeEventListener("abort", abort);
      }
    },

    async close() {
      isClosed = true;
      const closing = [...members];
      for (const member of closing) {
        for (const { job } of member.running.values()) Atomics.store(job.stop, 0, 1);
        lose(member, "closed");
      }
      await Promise.all(closing.map(({ worker }) => worker.terminate()));
    },
  };
}

const isStopped = (job: Job) => Atomics.load(job.stop, 0) !== 0;

/** Promise.withResolvers, which Node 20 does not have. */
function withResolvers() {
  let resolve: (output: unknown) => void = () => {};
  let reject: (error: CheckError) => void = () => {};
  const promise = new Promise<unknown>((done, fail) => {
    resolve = done;
    reject = fail;
  });
  return { promise, resolve, reject };
}
