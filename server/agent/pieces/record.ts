/** Records what happens to pieces with the agent's activity: for metrics, the audit log and the totals by image. */
import { PIECE_BYTES } from '../../../formats/piece-list/piece-list.ts';
import type { Activity, Operation } from '../../telemetry/activity.ts';
import type { AgentMetrics } from '../../telemetry/agent-metrics.ts';
import type { PieceId } from './piece.ts';
import { repositoryIn } from './upstreams.ts';

/** A blob, and where it is. */
interface PlacedBlob {
  readonly digest: string;
  readonly url: URL;
}

/** Lets the activity know where a blob is said to be: its path without query and credentials, for the audit log. */
export function learnBlob(activity: Activity, blob: PlacedBlob): void {
  activity.learn(blob.digest, nameOf(blob));
}

/** The same where the registry has just let somebody read it there: it counts for an image from now on. */
export function confirmBlob(activity: Activity, blob: PlacedBlob): void {
  activity.confirm(blob.digest, nameOf(blob));
}

/** The repository of a blob; of a store's path, the folder above its digest. */
function nameOf({ url }: PlacedBlob) {
  const { host, protocol, pathname } = url;
  const folder = pathname.replace(
    /\/(?:sha256\/[0-9a-f]{2}\/[0-9a-f]{64}(?:\/data)?|sha256(?::|%3a)[0-9a-f]{64})$/i,
    '',
  );
  return { registry: host, repository: repositoryIn(url) ?? folder, path: `${protocol}//${host}${pathname}` };
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

/** Records a download of a piece from where its blob is, and one that fails. */
export async function recordDownload(
  activity: Activity,
  { index, ...blob }: PlacedBlob & Pick<PieceId, 'index'>,
  download: () => Promise<Buffer>,
): Promise<Buffer> {
  const started = performance.now();
  const id = { digest: blob.digest, index };
  try {
    const bytes = await download();
    confirmBlob(activity, blob);
    notePiece(activity, 'from-origin', id, { bytes: bytes.length, started });
    return bytes;
  } catch (error) {
    notePiece(activity, 'from-origin', id, { bytes: undefined, started });
    throw error;
  }
}

/** Records a piece that the engine gave: it has asked the registry as the caller. */
export function recordEngine(
  metrics: AgentMetrics,
  { index, ...blob }: PlacedBlob & Pick<PieceId, 'index'>,
  use: { readonly bytes: number; readonly started: number },
): void {
  metrics.fromEngine.inc(use.bytes);
  confirmBlob(metrics.activity, blob);
  notePiece(metrics.activity, 'from-engine', { digest: blob.digest, index }, use);
}
