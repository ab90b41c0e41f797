import { randomBytes, randomUUID } from "node:crypto";
import { type Answer, type Received, type Route, type StandIn, standIn } from "../stand-in.ts";
import { DIDIT, diditRoutes } from "./didit.ts";

const HOUR_MS = 3_600_000;

interface Registered {
  readonly email: string;
  readonly password: string;
  isVerified: boolean;
  code: string;
  codeAt: number;
}

interface Fields {
  readonly email: string;
  readonly password: string;
  readonly code: string;
  readonly temp_token: string;
}

interface Application {
  readonly uuid: string;
  readonly name: string;
  readonly client_id: string;
  readonly api_key: string;
}

/** What Didit holds of its customers, and the knobs of a test. */
export interface Accounts {
  /** The code that the next mail brings; undefined: a random one. */
  code: string | undefined;
  /** As a person finds it in the mailbox. */
  codeOf(email: string): string;
  readonly mails: { readonly to: string; readonly code: string }[];
  cooldownMs: number;
  codeLivesMs: number;
  requestsAnHour: number;
  secondFactor: boolean;
  organizations: { readonly uuid: string; readonly name: string }[];
  applications: Application[];
  newApplication(): Application;
  /** The applications stay, their keys change; the last one is returned. */
  replaceKey(): string;
  balance: string;
  autoRefill: boolean;
  annualPlan: boolean;
  checkoutUrl: string | undefined;
  /** Of an account that is in use, however it came about. */
  enrol(email: string, password: string): void;
  /** All that must not be seen anywhere: passwords, codes, tokens, keys. */
  readonly tokens: readonly string[];
  readonly keys: readonly string[];
}

export interface AccountStandIn extends StandIn {
  readonly accounts: Accounts;
  /** For DIDIT_AUTH_BASE_URL and DIDIT_API_BASE_URL. */
  readonly env: Readonly<Record<string, string>>;
}

/** Didit's account API, its billing, and its checks, which take the keys that the account API gave out. */
export async function accountStandIn(): Promise<AccountStandIn> {
  const { accounts, routes } = accountRoutes();
  const api = await standIn({ routes });
  return {
    ...api,
    accounts,
    env: { DIDIT_API_BASE_URL: api.url, DIDIT_AUTH_BASE_URL: `${api.url}/auth/v2` },
  };
}

// Bodies that nobody has published hold words that no answer of ours may repeat.
const refuse = (status: number, detail: string): Answer => ({
  status,
  body: { detail: `SECRET-PROSE ${detail}` },
});
const created = (status: number, email: string): Answer => ({ status, body: { message: "SECRET-PROSE", email } });

function accountRoutes(): { readonly accounts: Accounts; readonly routes: readonly Route[] } {
  const registered = new Map<string, Registered>();
  const requests: number[] = [];
  const tokens: string[] = [];
  const tempTokens: string[] = [];
  const mails: Accounts["mails"] = [];
  const keys: string[] = [];

  const newApplication = (): Application => {
    const api_key = `dk_${randomBytes(24).toString("base64url")}`;
    keys.push(api_key);
    return { uuid: randomUUID(), name: "developer", client_id: randomUUID(), api_key };
  };
  const newToken = () => {
    const token = `eyJ.${randomBytes(24).toString("base64url")}.sig`;
    tokens.push(token);
    return token;
  };
  const session = () => ({ access_token: newToken(), refresh_token: newToken(), expires_in: 86_400 });

  const accounts: Accounts = {
    code: undefined,
    codeOf: (email) => registered.get(email)?.code ?? "",
    mails,
    cooldownMs: 60_000,
    codeLivesMs: 600_000,
    requestsAnHour: 5,
    secondFactor: false,
    organizations: [{ uuid: randomUUID(), name: "developer" }],
    applications: [newApplication()],
    newApplication,
    replaceKey() {
      accounts.applications = accounts.applications.map((it) => ({ ...it, api_key: newApplication().api_key }));
      return accounts.applications.at(-1)?.api_key ?? "";
    },
    balance: "1234.5600",
    autoRefill: false,
    annualPlan: false,
    checkoutUrl: undefined,
    enrol: (email, password) => void registered.set(email, { email, password, isVerified: true, code: "", codeAt: 0 }),
    tokens,
    keys,
  };

  function mail(account: Registered): void {
    account.code = accounts.code ?? randomBytes(6).toString("hex").slice(0, 6).toUpperCase();
    account.codeAt = Date.now();
    mails.push({ to: account.email, code: account.code });
  }

  function isOverLimit(): boolean {
    const since = Date.now() - HOUR_MS;
    requests.push(Date.now());
    return requests.filter((at) => at > since).length > accounts.requestsAnHour;
  }

  const register = ({ email, password }: Fields): Answer => {
    if (isOverLimit()) return refuse(429, "too many registrations");
    if (!/^[^@\s]+@[^@\s]+\.[^@\s]+$/.test(email)) return { status: 400, body: { email: ["Enter a valid email."] } };
    const lack = lackOf(password);
    if (lack !== undefined) return { status: 400, body: { password: [lack] } };
    if (/@(example\.com|.*\.(test|invalid))$/.test(email))
      return { status: 500, headers: { "content-type": "text/html" }, text: "" };
    const known = registered.get(email);
    if (known?.isVerified) return refuse(400, "a user with this email already exists");
    const account = known ?? { email, password, isVerified: false, code: "", codeAt: 0 };
    registered.set(email, account);
    mail(account);
    return created(known === undefined ? 201 : 200, email);
  };

  const resend = ({ email, password }: Fields): Answer => {
    if (isOverLimit()) return refuse(429, "too many registrations");
    const account = registered.get(email);
    if (account === undefined || account.password !== password) return refuse(401, "invalid credentials");
    if (account.isVerified) return refuse(400, "this email is verified");
    const waitMs = account.codeAt + accounts.cooldownMs - Date.now();
    if (waitMs > 0) return refuse(429, `Expected available in ${Math.ceil(waitMs / 1000)} seconds.`);
    mail(account);
    return { status: 200, body: {} };
  };

  const verify = ({ email, code }: Fields): Answer => {
    const account = registered.get(email);
    const isLate = account !== undefined && Date.now() > account.codeAt + accounts.codeLivesMs;
    if (account === undefined || account.isVerified || isLate || account.code !== code) {
      return refuse(400, `invalid or expired code ${code}`);
    }
    account.isVerified = true;
    const [organization] = accounts.organizations;
    const [application] = accounts.applications;
    return { status: 200, body: { ...session(), organization, application } };
  };

  const login = ({ email, password }: Fields): Answer => {
    const account = registered.get(email);
    if (account === undefined || !account.isVerified || account.password !== password) {
      return refuse(401, `invalid credentials ${password}`);
    }
    if (!accounts.secondFactor) return { status: 200, body: { ...session(), message: "Login successful" } };
    const temp_token = `TMP_${randomUUID()}`;
    tempTokens.push(temp_token);
    tokens.push(temp_token);
    return { status: 200, body: { "2fa_required": true, temp_token, has_authenticator: true, has_passkeys: false } };
  };

  const secondFactor = ({ temp_token }: Fields): Answer =>
    tempTokens.includes(temp_token)
      ? { status: 200, body: session() }
      : { status: 400, body: ["SECRET-PROSE Invalid OTP token."] };

  const post = (path: string, answer: (fields: Fields) => Answer): Route => ({
    method: "POST",
    path: `/auth/v2${path}`,
    answer: (request) => answer(fieldsOf(request)),
  });
  const get = (path: string, answer: (id: string) => Answer): Route => ({
    method: "GET",
    path: `/auth/v2/organizations/me/${path}`,
    answer: (request) =>
      tokens.includes(String(request.headers.authorization).replace(/^Bearer /, ""))
        ? answer(request.path.split("/").at(-2) ?? "")
        : refuse(401, "no token"),
  });
  const signedIn = [
    get("", () => ({ status: 200, body: accounts.organizations })),
    get("{organization}/applications/", () => ({
      status: 200,
      body: accounts.applications.map(({ uuid, name }) => ({ uuid, name })),
    })),
    get("{organization}/applications/{application}/", (id) => {
      const application = accounts.applications.find(({ uuid }) => uuid === id);
      return application === undefined ? refuse(404, "no such application") : { status: 200, body: application };
    }),
  ];

  const balance = (): Answer => ({
    status: 200,
    body: {
      balance: accounts.balance,
      auto_refill_enabled: accounts.autoRefill,
      auto_refill_amount: accounts.autoRefill ? "500.00" : null,
      auto_refill_threshold: accounts.autoRefill ? "100.00" : null,
    },
  });
  const topUp = (request: Received): Answer => {
    const { amount_in_dollars: amount } = JSON.parse(request.body.toString()) as { amount_in_dollars?: unknown };
    if (amount === undefined) return { status: 400, body: ["amount_in_dollars is required."] };
    if (typeof amount !== "number") return { status: 400, body: ["amount_in_dollars must be a number."] };
    if (amount < 50) return { status: 400, body: ["Amount must be at least $50."] };
    if (accounts.annualPlan) {
      return { status: 400, body: ["You have an annual plan. Contact your account manager to top up."] };
    }
    const id = `cs_test_${randomBytes(12).toString("hex")}`;
    const url = accounts.checkoutUrl?.replace("{id}", id) ?? `https://checkout.stripe.com/c/pay/${id}#fidkdWxOYHw`;
    return { status: 200, body: { checkout_session_id: id, checkout_session_url: url } };
  };

  const billing: Route[] = [
    { method: "GET", path: "/v3/billing/balance/", answer: balance },
    { method: "POST", path: "/v3/billing/top-up/", answer: topUp },
  ];
  // The checks know one key: it stands for every key that was given out.
  const checks = diditRoutes("any").map(
    (route): Route => ({
      ...route,
      answer: (request) => route.answer({ ...request, headers: { ...request.headers, "x-api-key": "any" } }),
    }),
  );
  const withKey = [...billing, ...checks].map(
    (route): Route => ({
      ...route,
      answer: (request) =>
        keys.includes(String(request.headers["x-api-key"])) ? route.answer(request) : DIDIT.badKey403,
    }),
  );

  return {
    accounts,
    routes: [
      post("/programmatic/register/", register),
      post("/programmatic/resend-otp/", resend),
      post("/programmatic/verify-email/", verify),
      post("/programmatic/login/", login),
      post("/2fa/verify/", secondFactor),
      ...signedIn,
      ...withKey,
    ],
  };
}

/** The strings of a JSON object; one that was left out is empty. */
function fieldsOf(request: Received): Fields {
  const parsed = JSON.parse(request.body.toString()) as Record<string, unknown>;
  const read = (name: string) => (typeof parsed[name] === "string" ? parsed[name] : "");
  return { email: read("email"), password: read("password"), code: read("code"), temp_token: read("temp_token") };
}

function lackOf(password: string): string | undefined {
  if (password.length < 8) return "Password must be at least 8 characters long.";
  const kinds = [/[A-Z]/, /[a-z]/, /[0-9]/, /[!@#$%^&*()_+\-=[\]{}|;:,.<>?]/];
  return kinds.every((kind) => kind.test(password)) ? undefined : "SECRET-PROSE Password is too simple.";
}
