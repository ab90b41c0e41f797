import { CheckError } from "../../errors.ts";

export const cancelled = () => new CheckError("cancelled", "The call was cancelled.");

export function stopIfCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw cancelled();
}
