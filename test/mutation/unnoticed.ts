/** Of a change: its file in src, without the extension, and what becomes what. */
export interface Change {
  readonly file: string;
  readonly change: string;
}

/** Changes that no test notices, by the reason why none does. The runner prints a change as it stands here. */
const REASONS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {};

export const UNNOTICED: readonly Change[] = Object.values(REASONS).flatMap((files) =>
  Object.entries(files).flatMap(([file, changes]) => changes.map((change) => ({ file, change }))),
);

export const isExplained = ({ file, change }: Change) =>
  UNNOTICED.some((one) => one.file === file && one.change === change);
