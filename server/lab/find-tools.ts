/** Finds the programs that the lab runs. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Tools } from './machines.ts';

/** The programs, or which of them are missing and how to get them. `containerd`: a folder; undefined for the best that is there. */
export function findTools(chosen: {
  readonly containerd: string | undefined;
  /** Folder for a processor profile of each agent. */
  readonly profile?: string | undefined;
}): (Tools & { readonly isV2: boolean }) | string {
  const missing = ['ip', 'tc', 'nsenter', 'curl', 'skopeo', 'docker-registry'].filter(
    (name) => spawnSync('which', [name]).status !== 0,
  );
  const built = join(homedir(), '.cache/accel/tools/containerd-2.4.2');
  const bin = chosen.containerd ?? (existsSync(join(built, 'ctr')) ? built : undefined);
  const containerd = bin === undefined ? 'containerd' : join(bin, 'containerd');
  const ctr = bin === undefined ? 'ctr' : join(bin, 'ctr');
  const version = spawnSync(containerd, ['--version'], { encoding: 'utf8' });
  if (version.status !== 0) missing.push('containerd');
  if (missing.length > 0)
    return `The lab needs programs that are not here: ${missing.join(', ')}. On Debian: apt-get install iproute2 util-linux curl skopeo docker-registry containerd`;
  const profile = chosen.profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', chosen.profile];
  const agent = [process.execPath, ...profile, join(import.meta.dirname, 'run-agent.js')];
  return { registry: 'docker-registry', containerd, ctr, agent, isV2: / v?2\./.test(version.stdout) };
}
