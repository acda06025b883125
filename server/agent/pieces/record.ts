/** Records what happens to pieces with the agent's activity: for metrics, the audit log and the totals by image. */
import { PIECE_BYTES } from '../../../formats/piece-list/piece-list.ts';
import type { Activity, Operation } from '../../telemetry/activity.ts';
import type { AgentMetrics } from '../../telemetry/agent-metrics.ts';
import type { PieceId } from './piece.ts';
import { repositoryIn } from './upstreams.ts';

/** Lets the activity know where a blob is: its path without query and credentials, for the audit log. */
export function learnBlob(activity: Activity, { digest, url }: { readonly digest: string; readonly url: URL }): void {
  const { host, protocol, pathname } = url;
  activity.learn(digest, {
    registry: host,
    repository: repositoryIn(url) ?? pathname,
    path: `${protocol}//${host}${pathname}`,
  });
}

/** Records an operation on a piece: its bytes, or that it failed. */
export function notePiece(
  activity: Activity,
  operation: Operation,
  { digest, index }: PieceId,
  use: { readonly bytes: number | undefined; readonly started: number },
): void {
  activity.note(operation, { digest, offset: index * PIECE_BYTES, ...use });
}

/** Records a download, and one that fails. */
export async function recordDownload(
  activity: Activity,
  id: PieceId,
  download: () => Promise<Buffer>,
): Promise<Buffer> {
  const started = performance.now();
  try {
    const bytes = await download();
    notePiece(activity, 'from-origin', id, { bytes: bytes.length, started });
    return bytes;
  } catch (error) {
    notePiece(activity, 'from-origin', id, { bytes: undefined, started });
    throw error;
  }
}

/** Records a piece that the engine gave. */
export function recordEngine(
  metrics: AgentMetrics,
  id: PieceId,
  use: { readonly bytes: number; readonly started: number },
): void {
  metrics.fromEngine.inc(use.bytes);
  notePiece(metrics.activity, 'from-engine', id, use);
}
