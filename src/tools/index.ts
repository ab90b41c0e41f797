import type { Tool } from "../toolkit/define.ts";
import { checkLiveness } from "./check-liveness.ts";
import { enrollFace } from "./enroll-face.ts";
import { getBalance } from "./get-balance.ts";
import { getSetup } from "./get-setup.ts";
import { listFaces } from "./list-faces.ts";
import { matchFaces } from "./match-faces.ts";
import { registerAccount } from "./register-account.ts";
import { removeFace } from "./remove-face.ts";
import { searchFace } from "./search-face.ts";
import { topUp } from "./top-up.ts";
import { verifyEmail } from "./verify-email.ts";
import { verifyLivenessSelfie } from "./verify-liveness-selfie.ts";
import { verifyPerson } from "./verify-person.ts";

/** Every tool, in the order in which clients and the README list them. */
export const TOOLS: readonly Tool[] = [
  checkLiveness,
  matchFaces,
  searchFace,
  verifyPerson,
  enrollFace,
  listFaces,
  removeFace,
  verifyLivenessSelfie,
  registerAccount,
  verifyEmail,
  getBalance,
  topUp,
  getSetup,
];
