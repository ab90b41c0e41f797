import * as z from "zod";
import { CheckError } from "../../errors.ts";
import type { HttpClient } from "../http/client.ts";
import type { CallOptions } from "../provider.ts";
import { answered, attempt, errorWith } from "./attempt.ts";
import { AUTH_REFUSALS, isMeant, LOGIN_REFUSALS, wrongPassword } from "./auth-refusals.ts";

/** As a part of a path too. */
const segment = z.string().regex(/^[\w-]{1,64}$/);
const token = z.string().regex(/^[\x21-\x7e]{1,8192}$/);

/** Beside a key nothing is worth refusing it: whatever else is missing or odd is null. */
const nameOrNull = z.string().max(1000).nullable().catch(null);
const idOrNull = segment.nullable().catch(null);
const apiKey = z.string().regex(/^[\x21-\x7e]{8,512}$/);

const Organization = z.object({ uuid: segment, name: nameOrNull });
const Application = z.object({ uuid: idOrNull, name: nameOrNull, client_id: nameOrNull, api_key: apiKey });

/** What `verify-email` answers, as far as it is kept: the tokens are not. The code works once, and so its key is kept. */
export const Membership = z.union([
  z.object({
    organization: z.object({ uuid: idOrNull, name: nameOrNull }).catch({ uuid: null, name: null }),
    application: Application,
  }),
  Application.transform((application) => ({ organization: { uuid: null, name: null }, application })),
]);
export type Membership = z.infer<typeof Membership>;

const LoginAnswer = z.union([
  z.object({ "2fa_required": z.literal(true) }).transform(() => ({ token: undefined })),
  z.object({ access_token: token }).transform(({ access_token }) => ({ token: access_token })),
]);
const listOf = <T extends z.ZodType>(item: T) =>
  z.union([z.array(item), z.object({ results: z.array(item) }).transform(({ results }) => results)]);

const BY_HAND =
  "Sign in to Didit's console (https://console.didit.me), set DIDIT_API_KEY to the application's API key, then restart the server.";

/** The way to the key of an account that exists. The token that it takes is forgotten at the end. */
export async function signIn(
  http: HttpClient,
  { email, password }: { readonly email: string; readonly password: string },
  { signal }: CallOptions,
): Promise<Membership> {
  const secrets = [password];
  const login = { method: "POST", path: "/programmatic/login/", json: { email, password }, secrets, signal } as const;
  const reply = await attempt(http, { ...login, schema: LoginAnswer }, LOGIN_REFUSALS).catch(rethrowHidden);
  if ("error" in reply) throw isMeant(reply, [400, 401, 403, 404, 422]) ? wrongPassword(reply) : reply.error;
  const { token } = reply.data;
  if (token === undefined) {
    throw new CheckError(
      "unsupported",
      "This Didit account requires a second factor, which biometrics-mcp does not support.",
      {
        next: `Do not enter a one-time code here. ${BY_HAND}`,
      },
    );
  }

  const get = async <T>(path: string, schema: z.ZodType<T>): Promise<T> => {
    const headers = { authorization: `Bearer ${token}` };
    const call = { method: "GET", path, headers, secrets: [password, token], schema, signal } as const;
    return (await answered(attempt(http, call, APPLICATION_REFUSALS).catch(rethrowHidden))).data;
  };
  const organization = theOnly("organizations", await get("/organizations/me/", listOf(Organization)));
  const folder = `/organizations/me/${organization.uuid}/applications/`;
  const { uuid } = theOnly("applications", await get(folder, listOf(z.object({ uuid: segment }))));
  return { organization, application: await get(`${folder}${uuid}/`, Application) };
}

const NO_ACCESS = {
  code: "unauthorized",
  message: "Didit does not show the API key to this user: only the owner and administrators can see it.",
  next: BY_HAND,
} as const;
const APPLICATION_REFUSALS = { ...AUTH_REFUSALS, 401: NO_ACCESS, 403: NO_ACCESS };

function theOnly<T>(what: string, found: readonly T[]): T {
  const [one, ...others] = found;
  if (one !== undefined && others.length === 0) return one;
  throw new CheckError(
    "unsupported",
    `Signing in worked, but the Didit account has ${found.length} ${what}, not one.`,
    {
      next: found.length === 0 ? `Create one first. ${BY_HAND}` : BY_HAND,
    },
  );
}

/** Of an answer with a key or a token in it, the log sees nothing: no list of secrets has them yet. */
export function rethrowHidden(thrown: unknown): never {
  const error = CheckError.from(thrown);
  throw error.code === "bad_response" ? errorWith(error, { cause: "an answer that may hold a key" }) : error;
}
