import type { PoolClient } from "pg";
import * as z from "zod";
import { countOf } from "../inspect.ts";
import { partitionOf } from "./schema.ts";

/*
 * A removed row stays in the pages of its table until it is vacuumed, and its bytes in a page until they are overwritten
 * or the table is written anew. What the last removal left says later which of these has happened.
 */

const removalSchema = z.object({ at: z.iso.datetime({ offset: true }), xid: z.string(), file: z.string() });

const keyOf = (name: string) => `removed:${name}`;

/** `file` changes when the table is written anew; that leaves the row out when no transaction as old as `xid` is left. */
const RECORD = `
  INSERT INTO biometrics_meta
  VALUES ($1, jsonb_build_object('at', clock_timestamp(), 'xid', pg_current_xact_id()::text,
    'file', pg_relation_filenode(to_regclass($2))::text)::text)
  ON CONFLICT (key) DO UPDATE SET value = excluded.value`;

/** In the transaction of the removal. */
export async function recordRemoval(client: PoolClient, name: string): Promise<void> {
  await client.query(RECORD, [keyOf(name), partitionOf(name)]);
}

/** Embeddings are too long for the table itself: they are in its TOAST table. */
const STATE = `
  SELECT current_setting('track_counts')::boolean AS counted,
    pg_relation_filenode(part.oid)::text <> $2 AND age(part.relfrozenxid) < age($3::xid8::xid) AS rewritten,
    sum(n_dead_tup)::int AS dead, (sum(n_dead_tup) FILTER (WHERE stat.relid = part.oid))::int AS dead_faces,
    bool_and(coalesce(greatest(last_vacuum, last_autovacuum) > $4::timestamptz, false)) AS vacuumed
  FROM pg_class part JOIN pg_stat_all_tables stat ON stat.relid IN (part.oid, part.reltoastrelid)
  WHERE part.oid = to_regclass($1)
  GROUP BY part.oid, part.relfrozenxid`;

interface State {
  readonly counted: boolean;
  readonly rewritten: boolean;
  readonly dead: number;
  readonly dead_faces: number;
  readonly vacuumed: boolean;
}

/** What is left of the faces that were removed, as a sentence. */
export async function tellErasure(
  client: PoolClient,
  name: string,
  meta: ReadonlyMap<string, string>,
): Promise<string> {
  const kept = meta.get(keyOf(name));
  if (kept === undefined) return "no removal is on record";
  const { at, xid, file } = removalSchema.parse(JSON.parse(kept));
  const { rows } = await client.query<State>(STATE, [partitionOf(name), file, xid, at]);
  const [state] = rows;
  const last = `the last removal (${new Date(at).toISOString()})`;
  const now = `To take their bytes out of its files now: VACUUM (FULL) ${partitionOf(name)}; searches wait meanwhile.`;
  if (state?.rewritten === true) return `the table was rewritten after ${last}: none is left in its files`;
  if (state?.counted !== true) {
    return `cannot be told: the database keeps no statistics (track_counts). ${now}`;
  }
  if (state.vacuumed && state.dead === 0) {
    return `the table was vacuumed after ${last}: their rows are gone, their bytes are overwritten in time. ${now}`;
  }
  const vacuumed = state.vacuumed ? "was vacuumed, but not completely," : "was not vacuumed";
  return `still in the table, which ${vacuumed} after ${last} and holds ${countOf(state.dead_faces)} that nobody finds. ${now}`;
}
