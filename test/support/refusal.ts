import { CheckError } from "../../src/errors.ts";

/** The CheckError that a call ends with; anything else is a failure of the test. */
export async function refusal(call: Promise<unknown>): Promise<CheckError> {
  const ended = await call.then(
    (value) => ({ value }),
    (thrown: unknown) => thrown,
  );
  if (ended instanceof CheckError) return ended;
  throw new Error("expected a CheckError", { cause: ended });
}
