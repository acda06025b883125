/** The contract of doctor's checks: each finds one thing right or wrong, and says how to mend it. */

import type { Config } from '../../config/schema.ts';
import type { ClusterParts } from '../cluster-parts.ts';
import type { RootedFiles } from './rooted-files.ts';

/** The result of one check. */
export interface Check {
  readonly name: string;
  readonly status: 'ok' | 'warning' | 'failed' | 'skipped';
  readonly found: string;
  /** Advice: the way to mend it, or to have it checked. */
  readonly fix?: string;
}

/** Inputs of a check. */
export interface Examined {
  readonly config: Config;
  readonly files: RootedFiles;
  /** Image of the canary pull; one of the runtime's own unless given. */
  readonly canary: string | undefined;
  /** Way to Kubernetes. */
  readonly cluster?: ClusterParts | undefined;
}

/** Says that all is well. */
export function ok(name: string, found: string): Check {
  return { name, status: 'ok', found };
}

/** Says what is wrong and how to mend it. */
export function failed(name: string, found: string, fix: string): Check {
  return { name, status: 'failed', found, fix };
}

/** Says what will go wrong, or goes slower than it could. */
export function warning(name: string, found: string, fix: string): Check {
  return { name, status: 'warning', found, fix };
}

/** Says why something was not looked at. */
export function skipped(name: string, found: string, fix?: string): Check {
  return { name, status: 'skipped', found, ...(fix === undefined ? {} : { fix }) };
}
