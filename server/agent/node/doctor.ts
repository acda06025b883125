/** `accel agent doctor`: looks at everything between a runtime and the agent, and says what is wrong and how to mend it. */

import { asAccelError } from '../../../base/error.ts';
import type { Config } from '../../config/schema.ts';
import type { ClusterParts } from '../cluster-parts.ts';
import { checkCanary } from './canary.ts';
import { checkAgent, checkRegistries } from './check-agent.ts';
import { checkDisk } from './check-disk.ts';
import { checkPeers } from './check-peers.ts';
import { checkContainerd, checkFiles, checkOverlaybd, checkVersions } from './check-runtimes.ts';
import { type Check, type Examined, failed } from './node-check.ts';
import { RootedFiles } from './rooted-files.ts';

/** All results. The document of `accel agent doctor` (docs/schemas/agent-doctor.json). */
export interface Diagnosis {
  readonly formatVersion: 1;
  /** No check failed. */
  readonly ok: boolean;
  readonly checks: readonly Check[];
}

/** Runs all checks, one after another. Fails with `usage` for a root that is no folder. */
export async function examineNode(
  config: Config,
  {
    root,
    canary,
    cluster,
  }: { readonly root: string; readonly canary?: string | undefined; readonly cluster?: ClusterParts | undefined },
): Promise<Diagnosis> {
  const examined: Examined = { config, files: await RootedFiles.open(root), canary, cluster };
  const checks: Check[] = [];
  for (const [name, check] of Object.entries(CHECKS)) {
    // A check that fails by itself must not hide the others.
    const found = await check(examined).catch((error: unknown) => {
      const { message, where, hint = 'Mend what it names, then look again.' } = asAccelError(error);
      const place = Object.values(where).join(' ');
      return [failed(name, place === '' ? message : `${message}: ${place}`, hint)];
    });
    checks.push(...found);
  }
  return { formatVersion: 1, ok: checks.every(({ status }) => status !== 'failed'), checks };
}

const CHECKS: Readonly<Record<string, (examined: Examined) => Promise<readonly Check[]>>> = {
  versions: checkVersions,
  setup: checkFiles,
  containerd: checkContainerd,
  agent: checkAgent,
  peers: checkPeers,
  disk: checkDisk,
  registries: checkRegistries,
  overlaybd: checkOverlaybd,
  canary: checkCanary,
};
