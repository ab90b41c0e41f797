import type { WriteStream } from "node:tty";
import type { Say } from "../language/say.ts";

/** How far a long command is: told again and again. */
export interface Progress {
  update(what: string, done: number, total: number): void;
  /** Clears what is on the screen. */
  end(): void;
}

const BAR_CHARS = 24;
const REDRAW_MS = 100;
/** Without a terminal each line stays, in a log say. */
const LINE_MS = 30_000;

/** A bar with rate and time left on a terminal; elsewhere a plain line now and then, and at the end of each part. */
export async function openProgress(
  stream: Pick<WriteStream, "write"> & { isTTY?: boolean },
  say: Say,
): Promise<Progress> {
  const screen = stream.isTTY === true ? await screenOn(stream) : undefined;
  const every = screen === undefined ? LINE_MS : REDRAW_MS;
  let part = { what: "", since: 0, from: 0 };
  let drawn = 0;
  return {
    update(what, done, total) {
      const now = performance.now();
      if (part.what !== what) {
        part = { what, since: now, from: done };
        drawn = screen === undefined ? now : 0;
      }
      if (done < total && now - drawn < every) return;
      drawn = now;
      const rate = (done - part.from) / Math.max((now - part.since) / 1000, 0.001);
      const text = say(lineOf(what, done, total, rate));
      if (screen === undefined) stream.write(`${text}\n`);
      else screen.draw(`${barOf(total === 0 ? 1 : done / total)} ${text}`);
    },
    end: () => screen?.end(),
  };
}

async function screenOn(stream: Pick<WriteStream, "write">) {
  const { createLogUpdate } = await import("log-update");
  const draw = createLogUpdate(stream as NodeJS.WritableStream);
  return {
    draw,
    end() {
      draw.clear();
      draw.done();
    },
  };
}

function barOf(share: number): string {
  const full = Math.round(share * BAR_CHARS);
  return `${"█".repeat(full)}${"░".repeat(BAR_CHARS - full)} ${String(Math.floor(share * 100)).padStart(3)} %`;
}

/** "images 1,200 of 10,000, 45 a second, 3 min 16 s left" */
export function lineOf(what: string, done: number, total: number, perSecond: number): string {
  const count = `${what} ${done.toLocaleString("en")} of ${total.toLocaleString("en")}`;
  if (done >= total || perSecond <= 0) return count;
  const rate = perSecond >= 10 ? Math.round(perSecond).toLocaleString("en") : perSecond.toFixed(1);
  return `${count}, ${rate} a second, ${durationOf((total - done) / perSecond)} left`;
}

function durationOf(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
