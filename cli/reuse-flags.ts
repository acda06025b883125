/** The flags that say how far what earlier runs left in the repository is trusted. */
import type { Command } from 'commander';

/** The parsed flags. */
export interface ReuseFlags {
  readonly recordKey?: string;
  readonly verifyReused?: boolean;
}

/** Bytes of a file with a key that are read. */
const MAX_KEY_BYTES = 64 << 10;
const RECORD_KEY =
  'file with a key of at least 16 bytes: only what an earlier run with the same key made is taken over (HMAC-SHA-256)';

/** Declares the flags of `convert`. */
export function addReuseFlags(command: Command): Command {
  return addRecordKeyFlag(command).option(
    '--verify-reused',
    'compare layers and images of earlier runs with the source, byte by byte, before they are taken over',
  );
}

/** Declares the flag that names the key. */
export function addRecordKeyFlag(command: Command): Command {
  return command.option('--record-key <file>', RECORD_KEY);
}

/** Settings that the flags add to a request. Throws `io-error` for a key that cannot be read. */
export async function reuseRequest({
  recordKey,
  verifyReused,
}: ReuseFlags): Promise<{ readonly recordKey?: Uint8Array; readonly verifyReused?: boolean }> {
  // Loaded where there is a key: the other calls start without it.
  const key =
    recordKey === undefined
      ? undefined
      : await import('../disk/small-file.ts').then(({ readSmallFile }) => readSmallFile(recordKey, MAX_KEY_BYTES));
  return {
    ...(key === undefined ? {} : { recordKey: key }),
    ...(verifyReused === undefined ? {} : { verifyReused }),
  };
}
