import type { EnrolledFace, Enrolment, FacePage, Removal } from "../../provider.ts";

export interface Neighbour extends EnrolledFace {
  /** Cosine similarity to the query, -1..1. */
  readonly cosine: number;
}

export interface NeighbourQuery {
  /** Neighbours below it are left out. */
  readonly minCosine: number;
  readonly limit: number;
  /** Blocklisted faces before all others, each part nearest first. */
  readonly blocklistedFirst: boolean;
}

/** All that is kept of a face. Biometric data. */
export interface StoredFace extends Enrolment {
  readonly id: string;
  /** ISO 8601, UTC. */
  readonly enrolledAt: string;
  readonly embedding: Float32Array;
}

/**
 * A store of face embeddings. Several processes may hold the same one open and write at once.
 *
 * Embeddings are unit vectors of 512 components, made by one model: a store remembers which, and refuses (CheckError
 * `setup`) to compare them with those of another. A call that fails throws a CheckError and has stored nothing.
 */
export interface Gallery {
  /** Stored durably when the promise resolves. */
  enroll(embedding: Float32Array, enrolment: Enrolment): Promise<EnrolledFace>;
  /** `total` counts every face from `minCosine` up among the candidates, `neighbours` holds the first `limit`. */
  search(embedding: Float32Array, query: NeighbourQuery): Promise<{ neighbours: readonly Neighbour[]; total: number }>;
  list(page: { readonly limit: number; readonly cursor?: string | undefined }): Promise<FacePage>;
  remove(id: string): Promise<Removal>;
  count(): Promise<number>;
  has(id: string): Promise<boolean>;
  /** For a copy: the oldest first, those after `seq`, each with its own. */
  read(page: {
    readonly after: number;
    readonly limit: number;
  }): Promise<readonly (StoredFace & { readonly seq: number })[]>;
  /** Stores faces of another gallery under their ids, all or none. Those whose ids are there already stay; how many were new. */
  store(faces: readonly StoredFace[]): Promise<number>;
  close(): Promise<void>;
}

/** The galleries of one place, each with a name (`GALLERY_NAME`). */
export interface Galleries {
  /**
   * `create`: makes it where there has never been one. Each is opened once, and closed with all.
   *
   * @throws CheckError `not_found` where there is none of that name.
   */
  open(name: string, options: { readonly create: boolean }): Promise<Gallery>;
  /** In the order of the alphabet. */
  names(): Promise<readonly string[]>;
  close(): Promise<void>;
}
