import { unknownCursor } from "../../provider.ts";

/** Faces are listed by falling sequence number, so a page stays right while faces come and go. */
export function cursorAfter(seq: number): string {
  return Buffer.from(`seq:${seq}`).toString("base64url");
}

/** The sequence number that the page must stay below; above every face when there is no cursor. */
export function seqBefore(cursor: string | undefined): number {
  if (cursor === undefined) return Number.MAX_SAFE_INTEGER;
  const seq = Number(/^seq:(\d{1,15})$/.exec(Buffer.from(cursor, "base64url").toString())?.[1]);
  // Written back, because base64 decoding skips what it does not know.
  if (cursorAfter(seq) === cursor) return seq;
  throw unknownCursor();
}
