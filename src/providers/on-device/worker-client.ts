import { availableParallelism } from "node:os";
import { Worker, type WorkerOptions } from "node:worker_threads";
import { CheckError, cancelled } from "../../errors.ts";
import { Turns } from "../../turns.ts";
import type { Answer, Input, Job, OperationName, Output, WorkerData } from "./messages.ts";

/** Two a worker: while the networks are busy with the first, the second is decoded. More would only hold pictures. */
const MAX_RUNNING = 2;
/** A caller beyond these would wait for about ten seconds; it is told to come again. */
const MAX_WAITING = 64;

const CORES = availableParallelism();
/** Of the worker that is alone. Four are slower on two cores, and gain little on more. */
const THREADS = Math.min(CORES, 2);
const MAX_WORKERS = Math.min(CORES, 8);
/** What must be free for each further worker, which takes up to 250 MB. */
const MIN_FREE_BYTES = 2 ** 29;
/** When calls have stood in line for so long, a further worker is worth the time that it takes to start. */
const PATIENCE_MS = 1000;
/** Workers of which there were several end when they had nothing to do for so long. */
const MAX_IDLE_MS = 30_000;

interface Pending {
  readonly job: Job;
  readonly resolve: (output: unknown) => void;
  readonly reject: (error: CheckError) => void;
}

interface Member {
  readonly worker: Worker;
  readonly threads: number;
  /** By the id of the job; also those whose caller has gone, until the worker is rid of them. */
  readonly running: Map<number, Pending>;
  /** Takes no more jobs, and ends with the last it has. */
  isLeaving: boolean;
  idle?: NodeJS.Timeout | undefined;
}

export interface WorkerClient {
  call<N extends OperationName>(operation: N, input: Input<N>, signal: AbortSignal): Promise<Output<N>>;
  close(): Promise<void>;
}

/**
 * Starts a worker, and a new one at the first call after it died. One worker has two cores for each network, so that a
 * call is soon answered; as long as calls stand in line there is one worker a core instead, which answers more of them.
 * Clients take turns; of one client, the call that came first is first.
 */
export function workerClient(file: URL, { pack }: Pick<WorkerData, "pack">): WorkerClient {
  /** Not yet with a worker. */
  const waiting = new Turns<Pending>();
  const members: Member[] = [];
  /** Since when calls stand in line, or stood when a worker came to help. */
  let waitingSince: number | undefined;
  let lastId = 0;
  let isClosed = false;

  function start(threads: number): Member {
    const workerData: WorkerData = { pack, threads };
    // Standard output belongs to the protocol: what the worker writes there goes nowhere, as nobody reads the stream
    // (and a listener on it would keep the process alive). Its standard error is that of the process.
    const worker = startWorker(file, { workerData, name: "face engine", stdout: true });
    const member: Member = { worker, threads, running: new Map(), isLeaving: false };
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

  /** A worker is gone, and with it what it worked at; with the last one also what waits. */
  function lose(member: Member, cause: unknown): void {
    if (!dismiss(member)) return;
    const lost = [...member.running.values(), ...(members.length === 0 ? waiting.clear() : [])];
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
    hand();
    if (waiting.size === 0) waitingSince = undefined;
    else waitingSince ??= performance.now();
    if (waitingSince !== undefined && performance.now() - waitingSince > PATIENCE_MS) {
      waitingSince = performance.now();
      grow();
      hand();
    }
    for (const member of [...members]) {
      // The process may end when nobody waits for an answer any more.
      if ([...member.running.values()].some(({ job }) => !isStopped(job))) member.worker.ref();
      else member.worker.unref();
      if (member.running.size > 0) continue;
      if (member.isLeaving) dismiss(member);
      else if (member.threads < THREADS) member.idle ??= setTimeout(() => dismiss(member), MAX_IDLE_MS).unref();
    }
  }

  /** Gives what waits to those who have room, the first to whoever has the least to do. */
  function hand(): void {
    for (let { next } = waiting; next !== undefined; { next } = waiting) {
      const staying = members.filter(({ isLeaving }) => !isLeaving);
      const [least = start(THREADS)] = staying.toSorted((a, b) => a.running.size - b.running.size);
      if (least.running.size >= MAX_RUNNING) break;
      waiting.delete(next);
      clearTimeout(least.idle);
      least.idle = undefined;
      least.running.set(next.job.id, next);
      least.worker.postMessage(next.job);
    }
  }

  /** One more worker; in the place of the one that was alone, two. */
  function grow(): void {
    const alone = members.find(({ threads, isLeaving }) => threads > 1 && !isLeaving);
    const count = alone === undefined ? 1 : 2;
    if (members.length >= MAX_WORKERS || process.availableMemory() < count * MIN_FREE_BYTES) return;
    if (alone !== undefined) alone.isLeaving = true;
    for (let i = 0; i < count; i += 1) start(1);
  }

  // It starts while the first image is read; the networks are not loaded before it is asked something.
  start(THREADS).worker.unref();

  return {
    async call<N extends OperationName>(operation: N, input: Input<N>, signal: AbortSignal) {
      if (isClosed || signal.aborted) throw cancelled();
      if (waiting.size >= MAX_WAITING) {
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
        waiting.delete(pending);
        reject(cancelled());
        advance();
      };
      signal.addEventListener("abort", abort, { once: true });
      waiting.add(pending);
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

function startWorker(file: URL, options: WorkerOptions): Worker {
  try {
    // Experimental features that sharp uses are nothing that a user could act on.
    return new Worker(file, { ...options, execArgv: [...process.execArgv, "--disable-warning=ExperimentalWarning"] });
  } catch (error) {
    // Options of the whole process, like --max-old-space-size, cannot be given to a worker again.
    if ((error as NodeJS.ErrnoException).code !== "ERR_WORKER_INVALID_EXEC_ARGV") throw error;
    return new Worker(file, options);
  }
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
