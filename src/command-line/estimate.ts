import { count } from "../decision/decision.ts";
import { CheckError } from "../errors.ts";
import type { Say } from "../language/say.ts";
import type { Billed, Provider } from "../providers/provider.ts";

/** What is sent, and may cost, before anything is. */
interface Estimate {
  /** "12 pairs". */
  readonly what: string;
  readonly calls: Partial<Readonly<Record<Billed, number>>>;
  /** How else to spend less, to end a sentence. */
  readonly smaller: string;
}

/** Says what calls would cost. @throws CheckError `invalid_input` where they were not agreed to */
export function approve(
  { what, calls, smaller }: Estimate,
  { name, prices }: Pick<Provider, "name" | "prices">,
  isApproved: boolean,
  { errors, say }: { readonly errors: NodeJS.WritableStream; readonly say: Say },
): void {
  const made = Object.entries(calls) as [Billed, number][];
  const total = made.reduce((sum, [, calls]) => sum + calls, 0);
  const cost = (which: 0 | 1) => made.reduce((sum, [check, calls]) => sum + calls * (prices?.[check][which] ?? 0), 0);
  const [low, high] = [cost(0).toFixed(2), cost(1).toFixed(2)];
  const estimate =
    `${what} would be sent to ${name}: ` +
    `${count(total, "billed call")}, about US$ ${low === high ? low : `${low} to ${high}`} at published prices.`;
  if (isApproved) errors.write(`${say(estimate.replace("would be", "are"))}\n`);
  else {
    throw new CheckError("invalid_input", estimate, {
      next: `Run the command again with --yes to make these calls, ${smaller}.`,
    });
  }
}
