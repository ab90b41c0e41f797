import { CheckError } from "./errors.ts";

/** Codes of errno(3) that tell of this machine at this moment, not of the file that was asked for. */
const TROUBLE: Readonly<Record<string, string>> = {
  EMFILE: "too many files and connections are open",
  ENFILE: "too many files and connections are open",
  ENOMEM: "there is no memory left",
  ENOBUFS: "there is no memory left",
  EAGAIN: "it is too busy",
  EBUSY: "the file is in use",
  EIO: "the disk reported an error",
  ESTALE: "the network drive did not answer",
  ETIMEDOUT: "the network drive did not answer",
};

export function errnoOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : undefined;
}

/** `unavailable`, where the machine is at fault and a repeat may succeed; undefined for whatever else was thrown. */
export function troubleOf(thrown: unknown): CheckError | undefined {
  const what = TROUBLE[errnoOf(thrown) ?? ""];
  if (what === undefined) return undefined;
  return new CheckError("unavailable", `This machine could not do it: ${what}.`, { cause: thrown });
}
