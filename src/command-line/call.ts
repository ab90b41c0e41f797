import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import type { App } from "../app.ts";
import { render } from "../decision/render.ts";
import { CheckError } from "../errors.ts";
import { loadSharp } from "../images/sharp.ts";
import { translated } from "../language/say.ts";
import type { Tool } from "../toolkit/define.ts";
import type { Outcome } from "../warnings.ts";
import { batchIn, batchOf, type Wanted, worstOf } from "./batch/command.ts";
import type { BatchFlags } from "./batch/run.ts";
import { type Common, enrollMany, isForMany, type Many, manyIn } from "./enroll-many.ts";
import { givenOf, type Input } from "./flags.ts";
import { forPerson } from "./for-person.ts";
import { isScreen, onScreen, stopwatch } from "./screen.ts";
import { fromInputToo } from "./standard-input.ts";
import { EXIT, isJson, report, type Terminal, withApp } from "./terminal.ts";

/** Calls a tool once, or for each of many images. @returns the exit code */
export async function callTool(
  tool: Tool,
  inputs: readonly Input[],
  command: Command,
  terminal: Terminal,
): Promise<number> {
  const exitCode = isForMany(tool) ? await enrollSeveral(inputs, command, terminal) : undefined;
  if (exitCode !== undefined) return exitCode;
  const given = givenOf(command, inputs);
  let batch: Wanted | undefined;
  const work = async (app: App) => {
    const { preview } = command.opts<{ preview?: string }>();
    if (batch !== undefined) {
      if (preview !== undefined) throw new CheckError("invalid_input", "--preview shows one check, not a batch.");
      return callMany(tool, batch, given, app, command, terminal);
    }
    const { say } = terminal;
    const loadImage = fromInputToo(app, terminal);
    const watch = stopwatch();
    let picture: Uint8Array | undefined;
    const context = {
      ...app,
      loadImage,
      signal: terminal.signal,
      onStage: watch.begin,
      onFailure: terminal.log,
      onPicture: (jpeg: Uint8Array | undefined) => {
        picture = jpeg;
      },
    };
    for (const name of tool.secrets) {
      const prompt = `${name} (empty: a strong one is generated)`;
      const secret = await terminal.readSecret(say(prompt), "BIOMETRICS_PASSWORD");
      if (secret !== undefined) given.push([name, secret]);
    }
    if (preview !== undefined) given.push(["preview", true]);
    const result = translated(await tool.call(Object.fromEntries(given), context), say);
    if (preview !== undefined) await writePicture(preview, picture, terminal);
    if (isJson(command)) terminal.print(JSON.stringify(result));
    else if (isScreen(terminal.output)) terminal.print(onScreen(result, watch.end(), terminal));
    else terminal.print(forPerson(render(result, say)));
    return EXIT[outcomeOf(result) ?? "approved"];
  };
  return withApp(command, terminal, work, (config) => {
    const kind = batchOf(tool);
    batch = kind && batchIn(command, kind);
    return batch?.foldersOf(config) ?? "anywhere";
  });
}

async function callMany(
  tool: Tool,
  batch: Wanted,
  given: readonly (readonly [string, unknown])[],
  app: App,
  command: Command,
  terminal: Terminal,
): Promise<number> {
  const flags = command.opts<BatchFlags>();
  const { runBatch } = await import("./batch/run.ts");
  const items = await batch.items(app);
  const named = Object.keys(items[0] ?? {});
  const args = Object.fromEntries(given.filter(([name]) => !named.includes(name)));
  const worst = worstOf(await runBatch({ tool, check: batch.check, args, items, app, flags }, terminal), flags.failOn);
  return worst === "failed" ? EXIT.error : EXIT[worst];
}

/** A failure here is only logged: the decision was made, and maybe paid for. */
async function writePicture(file: string, jpeg: Uint8Array | undefined, { log }: Terminal): Promise<void> {
  if (jpeg === undefined) return; // logged before
  try {
    const isPng = file.toLowerCase().endsWith(".png");
    const bytes = isPng ? await (await loadSharp())(jpeg).png({ palette: true, effort: 4 }).toBuffer() : jpeg;
    await writeFile(file, bytes, { mode: 0o600 }); // it shows a person
  } catch (thrown) {
    log("The picture could not be written.", thrown);
  }
}

function outcomeOf(result: Readonly<Record<string, unknown>>): Outcome | undefined {
  const outcome = result["outcome"];
  return outcome === "approved" || outcome === "review" || outcome === "declined" ? outcome : undefined;
}

/** undefined: it is one image. */
async function enrollSeveral(
  inputs: readonly Input[],
  command: Command,
  terminal: Terminal,
): Promise<number | undefined> {
  const { image_path, label, ...common } = Object.fromEntries(givenOf(command, inputs)) as Common & {
    image_path?: string;
    label?: string;
  };
  const { csv } = command.opts<{ csv?: string }>();
  let many: Many | undefined;
  const work = async (app: App) => {
    if (many === undefined) throw new CheckError("invalid_input", "No image was given.");
    if (label !== undefined) throw new CheckError("invalid_input", "Many faces do not have one label.");
    return report(command, terminal, await enrollMany(app, many, common, terminal));
  };
  if (csv === undefined && manyIn(image_path, csv) === undefined) return undefined;
  return withApp(command, terminal, work, () => {
    many = manyIn(image_path, csv);
    return [many?.folder ?? ""];
  });
}
