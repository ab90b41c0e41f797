export { refusal } from "../support/refusal.ts";

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import type { CheckError } from "../../src/errors.ts";
import type { Account } from "../../src/providers/account.ts";
import { diditAccount } from "../../src/providers/didit/account.ts";
import { type Credentials, openCredentials } from "../../src/storage/credentials.ts";
import { temporaryFolder } from "../support/clients.ts";
import { type AccountStandIn, accountStandIn } from "../support/stand-in/account.ts";

export const EMAIL = "jane@mail.org";
export const PASSWORD = "Correct-Horse-7";

export interface Setting {
  readonly api: AccountStandIn;
  readonly folder: string;
  readonly credentials: Credentials;
  readonly account: Account;
  /** The first code of the address is used. */
  verified(email?: string): Promise<void>;
}

/** An account before its stand-in, with a data folder of its own; no call went to a path that there is not. */
export async function setUp(apiKey?: string): Promise<Setting> {
  const api = await accountStandIn();
  const folder = join(temporaryFolder("data-"), "data");
  const credentials = openCredentials(folder);
  const account = diditAccount({
    authBaseUrl: `${api.url}/auth/v2`,
    apiBaseUrl: api.url,
    apiKey: async () => apiKey ?? (await credentials.read()).didit?.api_key,
    credentials,
  });
  onTestFinished(async () => {
    await account.close();
    await api.close();
    expect(api.received.flatMap(({ faults }) => faults)).toEqual([]);
  });
  return {
    api,
    folder,
    credentials,
    account,
    async verified(email = EMAIL) {
      await account.register({ email }, callOptions);
      await account.verifyEmail({ email, code: api.accounts.codeOf(email) }, callOptions);
    },
  };
}

export const callOptions = { signal: new AbortController().signal, onStage: () => {} };

/** As if the last codes had been sent so long ago, here and at Didit. */
export async function ago(seconds: number, { api, credentials }: Pick<Setting, "api" | "credentials">): Promise<void> {
  api.accounts.cooldownMs -= seconds * 1000;
  const code_sent_at = new Date(Date.now() - seconds * 1000).toISOString();
  await credentials.update((it) => ({ ...it, pending: it.pending.map((one) => ({ ...one, code_sent_at })) }));
}

/** Everything of a failure, what the log sees included. */
export const allOf = (error: CheckError) => `${error.message} ${error.next} ${String(error.cause)}`;

export const pathsOf = (api: AccountStandIn) => api.received.map(({ path }) => path.replace(/^\/auth\/v2/, ""));

/** The files of a folder with their text. */
export function filesOf(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((it) => it.isFile());
  return Object.fromEntries(names.map((it) => [it.name, readFileSync(join(it.parentPath, it.name), "latin1")]));
}
