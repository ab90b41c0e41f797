import { Worker } from "node:worker_threads";
import { CheckError } from "../../errors.ts";
import { cancelled } from "./cancelled.ts";
import type { Answer, Input, Job, OperationName, Output } from "./messages.ts";
import type { Pack } from "./models.ts";

/** Two: while the networks are busy with the first, the second is decoded. More would only hold pictures in memory. */
const MAX_RUNNING = 2;
/** A caller beyond these would wait for about ten seconds; it is told to come again. */
const MAX_WAITING = 64;

interface Pending {
  readonly job: Job;
  readonly resolve: (output: unknown) => void;
  readonly reject: (error: CheckError) => void;
}

export interface WorkerClient {
  call<N extends OperationName>(operation: N, input: Input<N>, signal: AbortSignal): Promise<Output<N>>;
  close(): Promise<void>;
}

/** Starts the thread at the first call, and a new one at the first call after it died. */
export function workerClient(file: URL, workerData: { readonly pack: Pack }): WorkerClient {
  /** Not yet with the worker. */
  const waiting: Pending[] = [];
  /** With the worker, by the id of the job; also those whose caller has gone, until the worker is rid of them. */
  const running = new Map<number, Pending>();
  let worker: Worker | undefined;
  let lastId = 0;
  let isClosed = false;

  function start(): Worker {
    // Standard output belongs to the protocol: what the worker writes there goes nowhere, as nobody reads the stream
    // (and a listener on it would keep the process alive). Its standard error is that of the process.
    // Experimental features that sharp uses are nothing that a user could act on.
    const execArgv = [...process.execArgv, "--disable-warning=ExperimentalWarning"];
    const started = new Worker(file, { workerData, name: "face engine", stdout: true, execArgv });
    started.on("message", (answer: Answer) => settle(answer));
    started.once("error", (cause) => lose(started, cause));
    started.once("messageerror", (cause) => lose(started, cause));
    started.once("exit", (code) => lose(started, `exit code ${code}`));
    return started;
  }

  function settle(answer: Answer): void {
    const pending = running.get(answer.id);
    running.delete(answer.id);
    if ("output" in answer) pending?.resolve(answer.output);
    else {
      const { code, message, ...options } = answer.failure;
      pending?.reject(new CheckError(code, message, options));
    }
    advance();
  }

  /** The thread is gone, and with it what it worked at. */
  function lose(lost: Worker, cause: unknown): void {
    if (worker !== lost) return;
    worker = undefined;
    void lost.terminate();
    const pending = [...running.values(), ...waiting.splice(0)];
    running.clear();
    for (const { reject } of pending) {
      reject(
        isClosed
          ? new CheckError("cancelled", "The face engine is shutting down.")
          : new CheckError("internal", "The face engine stopped unexpectedly.", { cause }),
      );
    }
  }

  function advance(): void {
    while (running.size < MAX_RUNNING && waiting.length > 0) {
      const next = waiting.shift();
      if (next === undefined) break;
      worker ??= start();
      running.set(next.job.id, next);
      worker.postMessage(next.job);
    }
    // The process may end when nobody waits for an answer any more.
    if ([...running.values()].some(({ job }) => !isStopped(job))) worker?.ref();
    else worker?.unref();
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
      const closing = worker;
      if (closing === undefined) return;
      for (const { job } of running.values()) Atomics.store(job.stop, 0, 1);
      lose(closing, "closed");
      await closing.terminate();
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
