import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

const CHILD = fileURLToPath(new URL("child.ts", import.meta.url));

export interface OtherProcess {
  readonly pid: number | undefined;
  /** Whole lines that it has written so far. */
  lines(): readonly string[];
  /** Resolves with the first such line. */
  line(start: string): Promise<string>;
  /** Waits for its own end; rejects when it failed. */
  end(): Promise<readonly string[]>;
  kill(): Promise<void>;
}

export function startProcess(task: string, file: string, seed = 1, nodeOptions: readonly string[] = []): OtherProcess {
  const child = spawn(process.execPath, [...nodeOptions, "--import", "tsx", CHILD, task, file, String(seed)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let written = "";
  let complaints = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    written += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaints += text;
  });
  const closed = once(child, "close");
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await closed;
  };
  onTestFinished(kill);
  const lines = (): string[] => written.split("\n").slice(0, -1);
  return {
    pid: child.pid,
    lines,
    kill,
    async line(start) {
      for (;;) {
        const found = lines().find((line) => line.startsWith(start));
        if (found !== undefined) return found;
        if (hasEnded(child)) throw new Error(`The other process ended without "${start}": ${complaints}`);
        await Promise.race([once(child.stdout, "data"), closed]);
      }
    },
    async end() {
      await closed;
      if (child.exitCode !== 0) throw new Error(`The other process failed: ${complaints}`);
      return lines();
    },
  };
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}
