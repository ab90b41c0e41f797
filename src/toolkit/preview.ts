import type { Decision } from "../decision/decision.ts";
import type { Image } from "../images/image.ts";
import type { ToolContext } from "./context.ts";

interface PreviewArguments {
  readonly preview?: boolean | undefined;
  readonly rotate?: boolean | undefined;
}

/** Gives the caller a picture of a decision, where it asked for one. A failure to draw does not lose the decision. */
export async function showPreview(
  { preview, rotate = false }: PreviewArguments,
  { onPicture, onFailure, signal }: ToolContext,
  images: readonly Image[],
  decision: Decision,
): Promise<void> {
  if (preview !== true || onPicture === undefined) return;
  try {
    const { draw } = await import("../decision/picture.ts");
    signal.throwIfAborted();
    // The device says where the faces are in the photo as it is displayed, however it was turned.
    onPicture(await draw(decision, images, rotate && decision.provider !== "on-device"));
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    onFailure?.("the picture could not be drawn", thrown);
    onPicture(undefined);
  }
}
