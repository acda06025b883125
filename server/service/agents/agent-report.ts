/** The document of `GET /api/v1/agent` as the service reads it: the fields that it shows, each of its type (docs/metrics.md). */
import { z } from 'zod';

const text = z.string().max(256);
const bytes = z.int().min(0);
const counts = { toClients: bytes, toPeers: bytes, fromPeers: bytes, fromOrigin: bytes };
/** Repositories of one agent that count. */
const MAX_IMAGES = 500;
/** Problems of one agent that are shown, of each kind, and characters of one. */
const MAX_PROBLEMS = 20;
const MAX_PROBLEM = 1024;

const problem = z.string().transform((whole) => whole.slice(0, MAX_PROBLEM));

const REPORT = z.object({
  node: text,
  zone: text,
  version: text,
  started: text,
  unready: z.string().max(1024).nullable(),
  // Agents of earlier versions do not say it.
  degraded: z
    .array(problem)
    .default([])
    .transform((all) => all.slice(0, MAX_PROBLEMS)),
  members: z.int().min(0),
  peers: z
    .array(z.object({ node: text, lastError: problem, at: text }))
    .default([])
    .transform((all) => all.slice(0, MAX_PROBLEMS)),
  bytes: z.object(counts),
  cache: z.object({ allocated: bytes, used: bytes, memory: bytes, pieces: bytes }),
  images: z.array(z.object({ registry: text, repository: text, ...counts })).max(MAX_IMAGES),
});

/** The report of one agent. */
export type AgentReport = z.output<typeof REPORT>;

/** Reads the document; undefined for one that is not of this form. */
export function readReport(document: string): AgentReport | undefined {
  try {
    return REPORT.safeParse(JSON.parse(document)).data;
  } catch {
    return undefined;
  }
}
