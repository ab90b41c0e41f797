import { argumentObjects } from "./arguments.ts";
import { clock } from "./clock.ts";
import { copies } from "./copies.ts";
import { damage } from "./damage.ts";
import { images } from "./images.ts";
import { kills } from "./kills.ts";
import { descriptors, fullDisk, readOnly } from "./machine.ts";
import type { Part } from "./part.ts";
import { provider } from "./provider.ts";
import { races } from "./races.ts";

export const PARTS: readonly Part[] = [
  images,
  argumentObjects,
  races,
  kills,
  fullDisk,
  readOnly,
  descriptors,
  damage,
  provider,
  clock,
  copies,
];
