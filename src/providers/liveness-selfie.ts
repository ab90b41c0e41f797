import type { Image, ImageLimits } from "../images/image.ts";
import type { CallOptions, Report } from "./provider.ts";

/** What the provider gets for itself: from an address, or from what it kept of an earlier call. */
type Elsewhere = { readonly url: URL } | { readonly id: string };

export type Selfie = { readonly image: Image } | Elsewhere;
/** What a provider's mobile SDK recorded: a format of its own, and no image. */
export type LivenessData = { readonly bytes: Uint8Array<ArrayBuffer> } | Elsewhere;

export interface LivenessSelfieOptions extends CallOptions {
  /** Turn the selfie upright first. Left out: the provider's default, which is no. */
  readonly autoRotate?: boolean | undefined;
  /** 0..100; below it declines, at it passes. Left out: the provider's default. */
  readonly declineThreshold?: number | undefined;
}

/** A backend that compares liveness data with a selfie. It keeps the contract of a Provider. */
export interface LivenessSelfie {
  readonly name: "linkface";
  readonly images: ImageLimits;
  readonly maxLivenessDataBytes: number;
  verifyLivenessSelfie(selfie: Selfie, livenessData: LivenessData, options: LivenessSelfieOptions): Promise<Report>;
  close(): Promise<void>;
}
