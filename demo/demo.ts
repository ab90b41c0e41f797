/** The main job on real photographs, through the real server and a real client. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { makePhotos } from "../test/support/photos.ts";

const MAIN = resolve(import.meta.dirname, "../dist/main.js");
const folder = mkdtempSync(join(tmpdir(), "biometrics-demo-"));

try {
  const photos = await makePhotos(folder);
  const client = new Client({ name: "demo", version: "1.0.0" });
  await client.connect(
    new StdioClientTransport({
      command: process.execPath,
      args: [MAIN],
      env: {
        PATH: process.env["PATH"] ?? "",
        HOME: folder,
        BIOMETRICS_PROVIDER: "on-device",
        BIOMETRICS_IMAGE_DIRS: folder,
        BIOMETRICS_DATA_DIR: join(folder, "data"),
      },
    }),
  );

  const show = async (title: string, name: string, args: Record<string, unknown>) => {
    const started = performance.now();
    const { content, isError } = await client.callTool({ name, arguments: args });
    const [first] = content as { text?: string }[];
    console.log(`\n${title}\n  ${name}, ${(performance.now() - started).toFixed(0)} ms`);
    for (const line of first?.text?.split("\n") ?? []) console.log(`  ${line}`);
    if (isError) process.exitCode = 1;
  };

  console.log("biometrics-mcp, on the device: no account, no network. The photographs are crops of three public ones.");
  await show("Is this a live person? (a press photograph, the first call loads the models)", "check_liveness", {
    image_path: photos.womanA,
  });
  await show("The same woman in two photographs", "match_faces", {
    user_image_path: photos.womanA,
    reference_image_path: photos.womanB,
  });
  await show("Two women", "match_faces", {
    user_image_path: photos.womanA,
    reference_image_path: photos.otherWoman,
  });
  await show("Remember her", "enroll_face", { image_path: photos.womanA, label: "the woman of the first photograph" });
  await show("Find her in the other photograph", "search_face", { image_path: photos.womanB });
  await show("Look for a stranger", "search_face", { image_path: photos.otherWoman });
  await client.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
