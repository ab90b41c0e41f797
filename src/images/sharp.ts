import { CheckError } from "../errors.ts";

/** What a hostile file may unfold to in memory: the product of its sides. */
export const MAX_PIXELS = 100e6;

/** The only place that knows sharp: its native addon, or its WebAssembly build where no addon may be loaded. */
export async function loadSharp() {
  const { default: sharp } = await import("sharp").catch((cause: unknown) => {
    throw new CheckError("setup", "The image decoder (sharp) cannot be loaded on this machine.", {
      cause,
      next: "Reinstall biometrics-mcp on this platform; where native addons are not allowed, add @img/sharp-wasm32.",
    });
  });
  // One image after the other, each decoded once: a cache keeps nothing useful, and more threads wait for inference.
  sharp.cache(false);
  sharp.concurrency(1);
  return sharp;
}
