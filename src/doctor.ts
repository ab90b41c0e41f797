import type { App } from "./app.ts";
import { CheckError } from "./errors.ts";
import { getSetup } from "./tools/get-setup.ts";

interface Finding {
  readonly test: string;
  readonly ok: boolean;
  /** What was found, and where it is not in order, what to do. */
  readonly said: string;
}

/** The setup, and each part of it tried out. No image of the user is read, and nothing is billed. */
export async function diagnose(
  app: App,
  signal: AbortSignal,
): Promise<{ findings: { setup: unknown; tests: readonly Finding[] }; text: string; ok: boolean }> {
  const context = { ...app, signal, onStage: () => {} };
  const setup = await getSetup.call({}, context);
  const provider = await app.provider();
  const tests = [
    ...(await app.folders()).map(({ path, readable }) => ({
      test: `folder ${path}`,
      ok: readable,
      said: readable
        ? "can be read"
        : "is not there or cannot be read: create it, or take it out of BIOMETRICS_IMAGE_DIRS",
    })),
    await attempt(`provider ${provider.name}`, () => provider.test(context)),
  ];
  const lines = tests.map(({ test, ok, said }) => `${ok ? "ok   " : "FAULT"} ${test}: ${said}`);
  const details = Object.entries(setup["details"] ?? {}).map(([name, value]) => `  ${name}: ${value}`);
  return {
    findings: { setup, tests },
    text: [`biometrics-mcp ${app.version}`, String(setup["summary"]), ...details, "", ...lines].join("\n"),
    ok: tests.every(({ ok }) => ok),
  };
}

async function attempt(test: string, work: () => Promise<string>): Promise<Finding> {
  try {
    return { test, ok: true, said: await work() };
  } catch (thrown) {
    const { message, next } = CheckError.from(thrown);
    return { test, ok: false, said: `${message} ${next}` };
  }
}
