/** The blob of an acceleration layer (docs/formats.md §7): a gzip-compressed tar with the one file `trace`. */
import { AccelError } from '../../base/error.ts';
import { type PackedArchive, packArchive, unpackArchive } from '../tar/small-archive.ts';
import { MAX_RECORDS, TRACE_NAME, traceRecord } from './layout.ts';

/** As the reference writes it: nobody is to change it. */
const MODE = 0o444;
/** The longest trace that accel reads, and the tar around it. */
const MAX_UNPACKED = MAX_RECORDS * traceRecord.size + 65_536;

/** Packs a trace or list. The same bytes give the same layer everywhere. */
export function packAccelerationLayer(trace: Uint8Array): Promise<PackedArchive> {
  return packArchive([{ name: TRACE_NAME, content: trace, mode: MODE }]);
}

/**
 * Takes a layer's blob apart; a tar that is not compressed is taken as well, as the reference writes it. Throws
 * `prefetch-invalid` when there is no file `trace` in it.
 */
export async function unpackAccelerationLayer(
  blob: Uint8Array,
): Promise<{ readonly trace: Uint8Array; readonly diffId: string }> {
  const { files, diffId } = await unpackArchive(blob, {
    name: 'the acceleration layer',
    code: 'prefetch-invalid',
    maxUnpacked: MAX_UNPACKED,
    allowPlain: true,
  });
  const trace = files.get(TRACE_NAME);
  if (trace === undefined)
    throw new AccelError('prefetch-invalid', 'the acceleration layer lacks its file', {
      expected: TRACE_NAME,
      found: [...files.keys()].join(', ') || 'nothing',
    });
  return { trace, diffId };
}
