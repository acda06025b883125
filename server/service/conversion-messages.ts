/** Messages between the service and the process of a conversion: one document on its standard input, messages over IPC back. */

import type { RegistryAccess } from '../config/registry-access.ts';
import type { ConversionOrder, ConversionProgress, ConversionResult } from './conversion.ts';
import type { Failure } from './queue.ts';

/** The document on standard input. Has paths of secrets and no secret. */
export interface ConversionDocument {
  readonly order: ConversionOrder;
  readonly registries: readonly RegistryAccess[];
  readonly workDirectory?: string | undefined;
}

/** The end of a conversion, by the word of its process. */
export type ConversionEnd =
  | {
      readonly type: 'done';
      readonly result: ConversionResult;
      /** The tag names another digest by now. */
      readonly moved: boolean;
    }
  /** The tag named another digest, or nothing, before anything was done. */
  | { readonly type: 'superseded'; readonly reason: string; readonly gone: boolean }
  | { readonly type: 'failed'; readonly failure: Failure };

/** A message of the process. `alive` comes every second, whatever happens. */
export type ConversionMessage =
  | { readonly type: 'alive'; readonly memory: number; readonly progress: ConversionProgress }
  | ConversionEnd;
